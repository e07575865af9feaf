// Package workers keeps what workers have announced of themselves (package worker of schemas). It is in memory only:
// after a takeover a table is complete again once each worker has announced itself, which takes worker.Every.
package workers
