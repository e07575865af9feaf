// Package conns bounds the connections for clients of a gateway: how many there are, how many of them may belong to
// clients that have not authenticated (strangers), and how long and how large handshakes, heads, bodies and answers may
// be. It knows nothing of jobs, and calls no handler but the one that it is given.
package conns
