//go:build unix

package external

// RemoveDir is for tests.
var RemoveDir = removeDir
