// Package session is one socket: it reads and answers a client's frames, and writes from
// an outbox that never makes anybody wait for a slow client.
package session

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
)

// Buffers of one connection. The library keeps the reader and writer that Hijack returns,
// so small ones save three quarters of an idle socket's memory. 512 bytes hold a control
// frame whole and a small frame's header and body.
const (
	readBuffer  = 512
	writeBuffer = 512
)

// conn is the hijacked connection: it replays what net/http had read ahead, keeps frames
// whole between the flush and the library's own control frames, and lets nothing follow a
// close frame (RFC 6455 §5.5.1).
type conn struct {
	net.Conn
	raw   syscall.RawConn // nil: no write can be tried
	br    *bufio.Reader
	ahead []byte // owned by the reader
	ended bool   // owned by the reader: the connection gave an error, not bytes

	closed atomic.Int32 // what the library's own close frame said

	mu     lock // held for one write
	hushed bool // a close frame of either was written
	begun  bool // by try, which holds mu until finish; owned by the flush
}

var errHushed = errors.New("a close frame was sent")

func (c *conn) Read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead = c.ahead[n:]
		return n, nil
	}
	n, err := c.Conn.Read(b)
	c.ended = c.ended || err != nil
	return n, err
}

// Write is the library's: it flushes its control frames in one piece. What comes after a
// close frame goes nowhere.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.lock()
	defer c.mu.unlock()
	if c.hushed {
		return len(b), nil
	}
	said, ok := wire.IsClose(b)
	if !ok {
		return c.write(b)
	}
	c.hushed = true
	if !utf8.Valid(b[min(len(b), 4):]) {
		// The reason that the client gave, on its way back: the library does not look at it.
		said = code.CloseInvalidUTF8
		b = wire.Close(said)
	}
	c.closed.Store(int32(said))
	_, err := c.write(b)
	return len(b), err
}

// try is send for callers that must not wait: it writes what the kernel takes at once and returns the
// rest, which finish must be called with.
func (c *conn) try(b []byte, last bool, t *trier) (rest []byte, err error) {
	if !c.mu.try() {
		return b, nil // the library writes a control frame
	}
	if c.hushed {
		c.mu.unlock()
		return nil, errHushed
	}
	n, err := t.write(c.raw, b)
	if err == nil && n < len(b) {
		c.begun = true // nobody else may write now
		return b[n:], nil
	}
	c.hushed = last
	c.mu.unlock()
	return nil, err
}

// finish writes what try has left.
func (c *conn) finish(rest []byte, last bool) error {
	if !c.begun {
		return c.send(rest, last)
	}
	defer c.mu.unlock()
	c.begun, c.hushed = false, last
	_, err := c.write(rest)
	return err
}

// send writes whole frames of the outbox; the last of them may be its close frame.
func (c *conn) send(b []byte, last bool) error {
	c.mu.lock()
	defer c.mu.unlock()
	if c.hushed {
		return errHushed
	}
	c.hushed = last
	_, err := c.write(b)
	return err
}

// said is the code of the library's own close frame; 0 when there was none.
func (c *conn) said() code.Close { return code.Close(c.closed.Load()) }

// write writes within writeTimeout. It leaves no deadline behind, which would end what is tried
// later. c.mu is held.
func (c *conn) write(b []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	if err == nil {
		err = c.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// hijacker is the ResponseWriter given to the library: it decides the buffers, and keeps the
// library's own answer to what is no handshake.
type hijacker struct {
	http.ResponseWriter
	conn    *conn // set by Hijack
	refused int   // the status of the library's answer; 0: there was none
}

// WriteHeader implements http.ResponseWriter.
func (h *hijacker) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
		return
	}
	h.refused = status
}

// Write implements http.ResponseWriter.
func (h *hijacker) Write(b []byte) (int, error) { return len(b), nil }

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
	if wrapped, ok := raw.(interface{ Hijacked() net.Conn }); ok {
		raw = wrapped.Hijacked()
	}
	// A client may send before it has read the 101.
	peeked, _ := rw.Reader.Peek(rw.Reader.Buffered())
	h.conn = &conn{Conn: raw, raw: rawConn(raw), mu: newLock(), ahead: append([]byte(nil), peeked...)}
	_ = raw.SetDeadline(time.Time{})
	limitUnsent(raw)
	h.conn.br = bufio.NewReaderSize(h.conn, readBuffer)
	return h.conn, bufio.NewReadWriter(h.conn.br, bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
