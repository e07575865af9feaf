//go:build !linux

package session

import "net"

// limitUnsent does nothing: this system has no TCP_NOTSENT_LOWAT with the same effect.
func limitUnsent(net.Conn) {}
