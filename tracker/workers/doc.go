// Package workers keeps what workers have announced of themselves (package fleet of schemas). It is in memory only:
// after a takeover a table is complete again once each worker has announced itself, which takes fleet.Every.
package workers
