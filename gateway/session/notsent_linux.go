package session

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// notSentBytes bounds the bytes that the kernel buffers for a socket and has not sent yet. Without a bound its buffer
// would take megabytes of statuses, which are outdated when the client reads them; statuses in the outbox are
// replaced by newer ones instead.
const notSentBytes = 16 << 10

// limitUnsent sets TCP_NOTSENT_LOWAT (tcp(7)) to notSentBytes. It does nothing for other kinds of connections.
func limitUnsent(c net.Conn) {
	for {
		under, ok := c.(interface{ NetConn() net.Conn }) // with TLS
		if !ok {
			break
		}
		c = under.NetConn()
	}
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentBytes)
			})
		}
	}
}
