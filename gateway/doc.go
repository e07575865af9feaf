// Package gateway is the edge: it takes jobs in from sockets and HTTP, acks them once they are durable, and carries
// their statuses back. It keeps no state but its sockets.
//
// This package makes the parts of a gateway, starts them, owns the sessions, and drains: begin at Gateway.Run. Package
// conns bounds connections, api is HTTP, session a socket, intake makes jobs durable, hub and subjects know who watches
// what, and upstream asks the trackers.
package gateway
