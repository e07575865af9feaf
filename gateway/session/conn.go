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

// Buffer sizes of a connection, in bytes. The WebSocket library keeps the reader and writer that Hijack returns, so
// small ones save three quarters of an idle socket's memory. 512 bytes hold a whole control frame, and the header and
// body of a small frame.
const (
	readBuffer  = 512
	writeBuffer = 512
)

// conn is the hijacked connection. It replays what net/http had read ahead, keeps the frames of the flush and the
// library's own control frames from being mixed, and writes nothing after a close frame (RFC 6455 §5.5.1).
type conn struct {
	net.Conn
	raw   syscall.RawConn // for writes that do not block; nil if the connection has none
	br    *bufio.Reader
	ahead []byte // read ahead by net/http; owned by the reader
	ended bool   // a read has failed; owned by the reader

	closed atomic.Int32 // the code of the library's own close frame; 0 before it

	mu     lock // held for one write
	hushed bool // a close frame was written, by the flush or the library
	begun  bool // try has written a part and holds mu until finish; owned by the flush
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

// Write is called by the library, with one whole control frame. After a close frame it drops everything.
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
		// The library echoes the client's reason without checking that it is UTF-8.
		said = code.CloseInvalidUTF8
		b = wire.Close(said)
	}
	c.closed.Store(int32(said))
	_, err := c.write(b)
	return len(b), err
}

// try is like send, but never blocks: it writes as much as the kernel accepts at once and returns the rest, with which
// the caller must call finish.
func (c *conn) try(b []byte, last bool, t *trier) (rest []byte, err error) {
	if !c.mu.try() {
		return b, nil // the library is writing a control frame
	}
	if c.hushed {
		c.mu.unlock()
		return nil, errHushed
	}
	n, err := t.write(c.raw, b)
	if err == nil && n < len(b) {
		c.begun = true // mu stays locked: no other frame may come in between
		return b[n:], nil
	}
	c.hushed = last
	c.mu.unlock()
	return nil, err
}

// finish writes the rest that try has returned.
func (c *conn) finish(rest []byte, last bool) error {
	if !c.begun {
		return c.send(rest, last)
	}
	defer c.mu.unlock()
	c.begun, c.hushed = false, last
	_, err := c.write(rest)
	return err
}

// send writes whole frames of the outbox. last says that the final one is the close frame.
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

// said returns the code of the library's own close frame; 0 if there was none.
func (c *conn) said() code.Close { return code.Close(c.closed.Load()) }

// write writes within writeTimeout. It clears the deadline afterwards, since that would make a later try fail. c.mu is
// held.
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

// hijacker is the ResponseWriter that is given to the library. It decides the sizes of the buffers, and suppresses the
// library's answer to a request that is not a handshake: the gateway answers itself.
type hijacker struct {
	http.ResponseWriter
	conn    *conn // set by Hijack
	refused int   // the status of the suppressed answer; 0 if there was none
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
	// A client may send frames before it has read the 101, which net/http may have read already.
	peeked, _ := rw.Reader.Peek(rw.Reader.Buffered())
	h.conn = &conn{Conn: raw, raw: rawConn(raw), mu: newLock(), ahead: append([]byte(nil), peeked...)}
	_ = raw.SetDeadline(time.Time{})
	limitUnsent(raw)
	h.conn.br = bufio.NewReaderSize(h.conn, readBuffer)
	return h.conn, bufio.NewReadWriter(h.conn.br, bufio.NewWriterSize(h.conn, writeBuffer)), nil
}
