// Package sse serves event streams (server-sent events, WHATWG HTML §9.2) with the statuses of jobs. A stream uses the
// same outbox as a socket.
package sse
