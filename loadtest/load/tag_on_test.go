//go:build synctests

package load

const synctests = true
