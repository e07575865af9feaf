//go:build !synctests

package load

const synctests = false
