// Package session serves one WebSocket: it reads and answers the client's frames, and writes from an outbox, so that no
// other part of the gateway waits for a slow client.
package session
