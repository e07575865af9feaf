package load

import (
	"net"
	"sync"
	"time"
)

const (
	slowRead   = 250 * time.Millisecond // interval at which a slow client reads
	slowBuffer = 4 << 10                // receive buffer in bytes; the kernel doubles it
)

// slowConn is a connection that is read slowly, as by a phone in a tunnel. It is slow from throttle on, and reads at
// full speed again after wake.
type slowConn struct {
	net.Conn
	perRead int

	awake  chan struct{} // closed by wake
	closed chan struct{}
	once   sync.Once // guards closed

	mu    sync.Mutex // guards tired
	tired bool
}

func newSlowConn(c net.Conn, bytesPerSecond int, awake chan struct{}) *slowConn {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(slowBuffer) // or the kernel would buffer too much
	}
	return &slowConn{
		Conn: c, awake: awake, closed: make(chan struct{}),
		perRead: max(1, bytesPerSecond*int(slowRead/time.Millisecond)/1000),
	}
}

func (c *slowConn) throttle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tired = true
}

// Read implements net.Conn.
func (c *slowConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	tired := c.tired
	c.mu.Unlock()
	select {
	case <-c.awake:
		return c.Conn.Read(b)
	default:
	}
	if !tired || len(b) == 0 {
		return c.Conn.Read(b)
	}
	pause := time.NewTimer(slowRead)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-c.awake:
	case <-c.closed:
		return 0, net.ErrClosed
	}
	return c.Conn.Read(b[:min(len(b), c.perRead)])
}

// Close implements net.Conn.
func (c *slowConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
