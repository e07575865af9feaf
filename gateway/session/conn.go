// Package session is one socket: it reads and answers a client's frames, and writes from
// an outbox that never makes anybody wait for a slow client.
package session

import (
	"bufio"
	"net"
	"net/http"
	"sync"
	"time"
)

// Buffers of one connection. The library keeps the reader and writer that Hijack returns,
// so small ones save three quarters of an idle socket's memory. 512 bytes hold a control
// frame whole and a small frame's header and body.
const (
	readBuffer  = 512
	writeBuffer = 512
)

// conn is the hijacked connection: it replays what net/http had read ahead, and keeps
// frames whole between the flush and the library's own control frames.
type conn struct {
	net.Conn
	br    *bufio.Reader
	ahead []byte // owned by the reader

	mu sync.Mutex // held for one write
}

func (c *conn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// Write writes whole frames, within writeTimeout: the library flushes its control frames in
// one piece. Each write sets a deadline of its own, as an old one would end the next.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// hijacker is the ResponseWriter given to the library: it decides the buffers.
type hijacker struct {
	http.ResponseWriter
	conn *conn // set by Hijack
}

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	raw, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := rw.Writer.Flush(); err != nil {
		_ = raw.Close()
		return nil, nil, err
	}
	// A client may send before it has read the 101.
	peeked, _ := rw.Reader.Peek(rw.Reader.Buffered())
	h.conn = &conn{Conn: raw, ahead: append([]byte(nil), peeked...)}
	_ = raw.SetDeadline(time.Time{})
	limitUnsent(raw)
	h.conn.br = bufio.NewReaderSize(h.conn, readBuffer)
	return h.conn, bufio.NewReadWriter(h.conn.br, bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
