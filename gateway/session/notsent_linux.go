package session

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// notSentBytes is what the kernel takes of a socket beyond what is on its way. Its send
// buffer would take megabytes of statuses that are old by the time they are read: what
// waits here is replaced by what is newer.
const notSentBytes = 16 << 10

// limitUnsent sets TCP_NOTSENT_LOWAT (tcp(7)); a connection that has none goes without.
func limitUnsent(c net.Conn) {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) {
				_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, notSentBytes)
			})
		}
	}
}
