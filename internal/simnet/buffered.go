package simnet

import (
	"net"
	"slices"
	"sync"
	"time"
)

// BufferedListener returns l with Buffered connections.
func BufferedListener(l net.Listener) net.Listener { return bufferedListener{l} }

type bufferedListener struct{ net.Listener }

// Accept implements net.Listener.
func (l bufferedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return Buffered(c), nil
}

// Buffered returns c with a buffer for writes, such as a kernel has: writes do not wait until the peer reads. TLS needs
// it on both sides, for when a handshake fails both may write at the same time. The buffer has no bound.
func Buffered(c net.Conn) net.Conn {
	b := &buffered{Conn: c, more: make(chan struct{}, 1), closed: make(chan struct{})}
	go b.run()
	return b
}

type buffered struct {
	net.Conn
	more, closed chan struct{}
	once         sync.Once

	mu    sync.Mutex // guards the fields below
	queue []byte
	err   error
}

// lastWrites is how long a closed connection goes on to write what it has.
const lastWrites = time.Second

// Write implements net.Conn.
func (b *buffered) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return 0, net.ErrClosed
	default:
	}
	if b.err != nil {
		return 0, b.err
	}
	b.queue = append(b.queue, p...)
	select {
	case b.more <- struct{}{}:
	default:
	}
	return len(p), nil
}

// SetWriteDeadline does nothing, since writes do not wait.
func (*buffered) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline sets the deadline of reads.
func (b *buffered) SetDeadline(t time.Time) error { return b.SetReadDeadline(t) }

// run writes the queue until the connection is closed.
func (b *buffered) run() {
	defer func() { _ = b.Conn.Close() }()
	for {
		b.mu.Lock()
		part := slices.Clone(b.queue)
		b.queue = nil
		b.mu.Unlock()
		if len(part) > 0 {
			if _, err := b.Conn.Write(part); err != nil {
				b.mu.Lock()
				b.err = err
				b.mu.Unlock()
				return
			}
			continue
		}
		select {
		case <-b.more:
		case <-b.closed:
			b.mu.Lock()
			empty := len(b.queue) == 0
			b.mu.Unlock()
			if empty {
				return
			}
		}
	}
}

// Close implements net.Conn. What was written before is still sent, as by a kernel, for up to lastWrites.
func (b *buffered) Close() error {
	b.once.Do(func() {
		_ = b.Conn.SetWriteDeadline(time.Now().Add(lastWrites))
		_ = b.SetReadDeadline(time.Now())
		close(b.closed)
	})
	return nil
}
