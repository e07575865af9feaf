//go:build unix

package session

import (
	"errors"
	"net"
	"syscall"
)

// rawConn returns the raw connection for writes that do not block; nil if there is none, as with TLS.
func rawConn(c net.Conn) syscall.RawConn {
	if sc, ok := c.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			return raw
		}
	}
	return nil
}

// trier writes without blocking. It is reused for many writes, since its function value is an allocation.
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
			return true // after a short write too: the buffer is full, and we do not wait
		}
	}
	return t
}

// write writes as much as the kernel accepts at once, and returns how many bytes that was.
func (t *trier) write(raw syscall.RawConn, b []byte) (int, error) {
	t.b, t.n, t.err = b, 0, nil
	err := raw.Write(t.do)
	t.b = nil
	return t.n, errors.Join(err, t.err)
}
