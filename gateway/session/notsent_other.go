//go:build !linux

package session

import "net"

// limitUnsent does nothing: there is no TCP_NOTSENT_LOWAT that works alike.
func limitUnsent(net.Conn) {}
