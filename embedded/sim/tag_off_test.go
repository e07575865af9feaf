//go:build !synctests

package sim

const synctests = false
