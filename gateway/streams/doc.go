// Package streams follows streams of jobs for the gateway's clients. However many clients follow a stream, its tracker
// sends it only once, and its last bytes are in one buffer. Each client has a place in the stream, which is a cursor
// and not a queue: it takes what follows the cursor from the buffer, and what the buffer no longer has from the
// tracker. So a client that reads slowly costs its cursor, and nobody waits for it.
package streams
