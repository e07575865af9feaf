package conns

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/text"
)

// Bounds of a request's head: its line and its headers. net/http has only one bound for both together, and refuses in
// plain text.
const (
	MaxRequestLine = 48 << 10 // an event stream names 1,000 jobs in its query, of 41 characters each
	MaxHeaders     = 20 << 10 // room for the cursor of such a stream, and a token

	longLine     = 16 << 10
	MaxLongLines = 256 // request lines above longLine that are read at the same time; beyond it the oldest is closed

	// How much is read of a head that is refused, so that its client reads the answer.
	headDiscardBytes   = 1 << 20
	headDiscardTimeout = 500 * time.Millisecond
	headAnswerTimeout  = 5 * time.Second
)

// headListener makes the connections of a listener without TLS.
type headListener struct {
	net.Listener
	all *table
}

// Accept implements net.Listener.
func (l *headListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &headConn{Conn: conn, all: l.all}, nil
}

// headConn is a connection that bounds the heads of its requests. It also turns the plain-text refusals of net/http
// into problems (RFC 9457).
//
// If a client sends a request before it has the answer to the last one (pipelining), the beginning of its head may be
// read together with the former body. Then the rest counts as a line, and http.Server.MaxHeaderBytes bounds the whole.
type headConn struct {
	net.Conn
	all *table

	mu     sync.Mutex // guards the fields below; nothing is called under it
	part   headPart
	size   int  // of the part so far
	filled bool // the current line is not empty
	served bool // a handler has the request
	long   *Stranger
}

// headPart is the part of a head that is read next.
type headPart int

const (
	requestLine headPart = iota
	headers
	behindHead
)

var errHead = errors.New("the head of a request is above its limit")

// Read implements net.Conn.
func (c *headConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	detail, long := c.count(b[:n])
	switch {
	case detail != "":
		c.all.cfg.TurnedAway(limits.RequestHead)
		c.refuse(code.HeadersTooLarge, detail)
		return 0, &net.OpError{Op: "read", Err: errHead} // which net/http does not answer
	case long:
		c.waits()
	}
	return n, err
}

// count counts bytes that were read. detail says which bound is exceeded, if any; long reports that the request line
// has become a long one.
func (c *headConn) count(b []byte) (detail string, long bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(b) > 0 && c.part != behindHead {
		line, rest, ends := bytes.Cut(b, []byte{'\n'})
		was := c.size
		c.size += len(b) - len(rest)
		c.filled = c.filled || len(bytes.TrimRight(line, "\r")) > 0
		switch {
		case c.part == requestLine && c.size > MaxRequestLine:
			return fmt.Sprintf("the request line is longer than %d bytes", MaxRequestLine), false
		case c.part == headers && c.size > MaxHeaders:
			return fmt.Sprintf("the headers are larger than %d bytes", MaxHeaders), false
		case c.part == requestLine && was <= longLine && c.size > longLine:
			long = true
		}
		if ends {
			switch {
			case c.part == requestLine && c.filled: // empty ones before it are skipped
				c.part, c.size = headers, 0
			case c.part == headers && !c.filled:
				c.part = behindHead
			}
			c.filled = false
		}
		b = rest
	}
	return "", long
}

// waits counts the connection among those with a long request line.
func (c *headConn) waits() {
	x := c.all.longLines.enter(nil, func() { c.all.drop(c) })
	c.mu.Lock()
	if c.part != behindHead && c.long == nil {
		c.long, x = x, nil
	}
	c.mu.Unlock()
	c.all.longLines.leave(x) // the connection has ended meanwhile
}

// begins resets the counts for a new request.
func (c *headConn) begins() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.part = requestLine
	c.size = 0
	c.filled = false
	c.served = false
}

// ends records that a request's head was read completely, or will not be.
func (c *headConn) ends(served bool) {
	c.mu.Lock()
	x := c.long
	c.part, c.served, c.long = behindHead, served, nil
	c.mu.Unlock()
	c.all.longLines.leave(x)
}

// Close implements net.Conn.
func (c *headConn) Close() error {
	c.ends(true)
	return c.Conn.Close()
}

func (c *headConn) hangUp() error {
	c.ends(true)
	return hangUp(c.Conn)
}

// CloseWrite is what net/http calls before it closes a connection whose client may still send.
func (c *headConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// NetConn returns the connection under this one.
func (c *headConn) NetConn() net.Conn { return c.Conn }

// Hijacked returns the connection itself, for the session that has taken it over.
func (c *headConn) Hijacked() net.Conn { return c.Conn }

// plainRefusal is the end of the head of net/http's own refusals, which are sent in one write.
var plainRefusal = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// Write implements net.Conn.
func (c *headConn) Write(b []byte) (int, error) {
	c.mu.Lock()
	served := c.served
	c.mu.Unlock()
	if served {
		return c.Conn.Write(b)
	}
	line, _, plain := bytes.Cut(b, plainRefusal)
	if !plain {
		return c.Conn.Write(b)
	}
	of, detail := code.InvalidFrame, "this is no HTTP/1.1 request"
	switch status, reason, _ := strings.Cut(strings.TrimPrefix(string(line), "HTTP/1.1 "), " "); {
	case status == strconv.Itoa(http.StatusRequestHeaderFieldsTooLarge):
		of, detail = code.HeadersTooLarge, "the headers are too large"
	case reason != "":
		detail += ": " + text.Clip(reason, problem.MaxReason)
	}
	return len(b), c.answer(of, detail)
}

// refuse answers a request whose head exceeds a bound.
func (c *headConn) refuse(of code.Code, detail string) {
	c.ends(true)
	if c.answer(of, detail) != nil || c.CloseWrite() != nil {
		return
	}
	_ = c.SetReadDeadline(time.Now().Add(headDiscardTimeout))
	_, _ = io.CopyN(io.Discard, c.Conn, headDiscardBytes)
}

// answer writes a problem, after which the connection is closed.
func (c *headConn) answer(of code.Code, detail string) error {
	p := frame.NewProblem(of, detail)
	p.Status = of.Info().HTTP
	body, err := plainjson.Marshal(p)
	if err != nil {
		return err
	}
	c.all.cfg.Refused(of, p.Status)
	_ = c.SetWriteDeadline(time.Now().Add(headAnswerTimeout))
	_, err = fmt.Fprintf(c.Conn, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n"+
		"X-Content-Type-Options: nosniff\r\n%s: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		p.Status, http.StatusText(p.Status), requestid.Header, uuid.NewString(), len(body), body)
	return err
}
