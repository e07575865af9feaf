// Package api is the gateway's HTTP: its routes, who may use them, and how they answer. Sockets begin here, with a
// handshake, and become sessions.
//
// Begin at API.Handler and routesOf. A group of routes is a type of its own, which embeds the door (who is the
// client?) and with it the answers.
package api
