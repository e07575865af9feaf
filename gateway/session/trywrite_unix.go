//go:build unix

package session

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns what tries writes on a connection; nil when it has none, like one with TLS.
func rawConn(c net.Conn) syscall.RawConn {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// trier writes without waiting. It is kept from write to write, as its function is an allocation.
type trier struct {
	b   []byte
	n   int
	err error
	do  func(fd uintptr) bool
}

func newTrier() *trier {
	t := &trier{}
	t.do = func(fd uintptr) bool {
		for {
			n, err := syscall.Write(int(fd), t.b)
			switch {
			case errors.Is(err, syscall.EINTR):
				continue
			case err == nil:
				t.n = max(n, 0)
			case !errors.Is(err, syscall.EAGAIN):
				t.err = err
			}
			return true // also with a short write: the buffer is full then
		}
	}
	return t
}

// write writes what the kernel takes at once.
func (t *trier) write(raw syscall.RawConn, b []byte) (int, error) {
	t.b, t.n, t.err = b, 0, nil
	err := raw.Write(t.do)
	t.b = nil
	return t.n, errors.Join(err, t.err)
}
