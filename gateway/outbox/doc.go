// Package outbox queues the frames that a session is still to be sent: control frames, which keep their order and are
// never dropped, and for each watched job at most one status, the latest. A put allocates nothing and never blocks. A
// slow client costs bounded memory, and gets the latest state late.
package outbox
