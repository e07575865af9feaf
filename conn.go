package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// keptBuffer is the largest buffer that a connection keeps between two frames, in bytes.
const keptBuffer = 16 << 10

// conn is one WebSocket.
type conn struct {
	// Set by connect, then only read.
	c      *Client
	ws     *websocket.Conn
	raw    io.Closer // closes the socket at once, whatever ws is doing
	ping   time.Duration
	expiry time.Time // of the token it was opened with; zero if unknown
	born   time.Time
	wake   chan struct{}          // capacity 1: there may be something to write
	goaway chan frame.GoawayFrame // capacity 1: the server asked to reconnect
	warned chan time.Duration     // capacity 1: time until the server closes unless the token is renewed
	renew  chan time.Time         // capacity 1: a renewal has ended; the expiry of the token in use now
	quit   chan struct{}          // closed by the reader to end the writer
	silent chan struct{}          // closed by the writer when it has ended
	dead   chan struct{}          // closed by the reader, last of all

	// Owned by the reader; err may be read by others once dead is closed.
	rbuf    []byte
	problem *Error // the last error frame that answered no request
	err     error

	// Owned by the writer; the reader stops hangup once silent is closed.
	wbuf   []byte
	hangup *time.Timer

	seen   atomic.Uint64 // frames and pings read; the watchdog checks that it grows
	writes atomic.Uint64 // odd while a write is under way

	// Guarded by Client.mu.
	limits     frame.Limits
	calls      map[string]*call  // written and not answered, by correlation ID
	batches    map[string][]*sub // jobs of the subscribe frames not answered, by correlation ID
	inFlight   int               // those of calls that the server counts
	draining   bool              // after a goaway: nothing new is written
	superseded bool              // another connection took over: close when calls is empty
	later      []*sub            // to be subscribed again when laterTimer fires
	laterTimer *time.Timer
	laterRound int         // how often in a row subscribing was put off; it sets the backoff
	drainTimer *time.Timer // kills a connection that drains for too long
}

// tap is a transport that keeps the upgraded stream of a handshake. The WebSocket library closes a socket only after
// a closing handshake or a pending write; the watchdog needs to close it at once.
type tap struct {
	base http.RoundTripper
	raw  io.ReadWriteCloser
}

func (t *tap) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		t.raw, _ = resp.Body.(io.ReadWriteCloser)
	}
	return resp, err
}

// connect opens a socket and reads frames up to the welcome. A token of a source that the server refuses is asked for
// once more, since it may have been replaced before its time.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	cn, err := c.connectOnce(ctx)
	if e, refused := errors.AsType[*Error](err); refused && e.Status == http.StatusUnauthorized && c.cfg.renews {
		c.cfg.log.Info("token refused, asking for another", "err", err)
		return c.connectOnce(ctx)
	}
	return cn, err
}

// connectOnce is one attempt of connect. All of it is bounded by the handshake timeout.
func (c *Client) connectOnce(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.handshake)
	defer cancel()
	token, err := c.api.fetchToken(ctx)
	if err != nil {
		return nil, err
	}
	cn := &conn{
		c:      c,
		wake:   make(chan struct{}, 1),
		goaway: make(chan frame.GoawayFrame, 1),
		warned: make(chan time.Duration, 1),
		renew:  make(chan time.Time, 1),
		quit:   make(chan struct{}),
		silent: make(chan struct{}),
		dead:   make(chan struct{}),
		calls:  make(map[string]*call),
	}
	if c.cfg.renews {
		cn.expiry, _ = jwtExpiry(token)
	}
	t := &tap{base: c.api.http.Transport}
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	hc := *c.api.http
	hc.Transport = t
	header := http.Header{}
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
	ws, resp, err := websocket.Dial(ctx, c.api.wsURL, &websocket.DialOptions{
		HTTPClient:      &hc,
		HTTPHeader:      header,
		Subprotocols:    []string{frame.Protocol},
		CompressionMode: c.cfg.compression,
		OnPingReceived: func(context.Context, []byte) bool {
			cn.seen.Add(1)
			return true
		},
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			var body []byte
			if resp.Body != nil {
				body, _ = io.ReadAll(resp.Body) // at most 1 KiB, in memory
			}
			return nil, httpError(resp, body)
		}
		return nil, fmt.Errorf("ackwire: connect: %w", err)
	}
	cn.ws, cn.raw = ws, t.raw
	ws.SetReadLimit(c.cfg.readLimit)
	if ws.Subprotocol() != frame.Protocol {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("ackwire: connect: the server does not speak %s", frame.Protocol)
	}
	if err := cn.awaitWelcome(ctx); err != nil {
		_ = ws.CloseNow()
		return nil, err
	}
	cn.born = time.Now()
	return cn, nil
}

func (cn *conn) awaitWelcome(ctx context.Context) error {
	for {
		b, err := cn.read(ctx)
		if err != nil {
			return fmt.Errorf("ackwire: await welcome: %w", cn.explain(err))
		}
		h, _ := scanHead(b)
		switch frame.Type(h.typ) {
		case frame.Welcome:
			var w frame.WelcomeFrame
			if err := json.Unmarshal(b, &w); err != nil {
				return fmt.Errorf("ackwire: read welcome: %w", err)
			}
			cn.limits, cn.ping = w.Limits, seconds(w.PingInterval)
			cn.c.cfg.log.Debug("connected", "connection", w.Connection)
			return nil
		case frame.Error:
			cn.noteProblem(b)
		}
	}
}

// read returns the next text frame; it is valid until the next read. A binary frame is returned as nil, which the
// caller counts as a bad frame.
func (cn *conn) read(ctx context.Context) ([]byte, error) {
	typ, r, err := cn.ws.Reader(ctx)
	if err != nil {
		return nil, err
	}
	b := cn.rbuf[:0]
	for {
		if len(b) == cap(b) {
			b = slices.Grow(b, max(512, len(b)))
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
	}
	cn.rbuf = nil
	if cap(b) <= keptBuffer {
		cn.rbuf = b
	}
	cn.seen.Add(1)
	if typ != websocket.MessageText {
		return nil, nil
	}
	return b, nil
}

// explain turns a read error into the error that callers see: a CloseError when the close code forbids to reconnect,
// else the plain cause.
func (cn *conn) explain(err error) error {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return &CloseError{Code: code.CloseMessageTooBig, Reason: "a frame from the server is above the client's read limit"}
	}
	ce, ok := errors.AsType[websocket.CloseError](err)
	if !ok {
		return err
	}
	closed := &CloseError{Code: code.Close(ce.Code), Reason: ce.Reason, Cause: cn.problem}
	if closed.Code.Reconnect() {
		return errors.New(closed.text()) // not a CloseError, which would be permanent: the client reconnects
	}
	return closed
}

func (cn *conn) noteProblem(b []byte) {
	var f frame.ErrorFrame
	if json.Unmarshal(b, &f) == nil {
		cn.problem = &Error{Problem: f.Problem}
	}
}

// readLoop handles frames until the socket ends, whichever side ended it, and then cleans up: first the socket, then
// the writer, then the calls that were not answered.
func (cn *conn) readLoop() {
	var err error
	for {
		var b []byte
		if b, err = cn.read(context.Background()); err != nil {
			break
		}
		cn.c.handle(cn, b)
	}
	cn.err = cn.explain(err)
	cn.kill()
	close(cn.quit)
	_ = cn.ws.CloseNow()
	<-cn.silent
	if cn.hangup != nil {
		cn.hangup.Stop()
	}
	cn.c.settle(cn, fmt.Errorf("%w: %w", ErrDisconnected, cn.err))
	close(cn.dead)
}

// writeLoop writes the client's queued frames to this connection. After a failed write the reader has closeGrace to
// read the server's close frame, before the socket is closed.
func (cn *conn) writeLoop() {
	defer close(cn.silent)
	for {
		b := cn.nextFrame()
		if b == nil {
			select {
			case <-cn.wake:
				continue
			case <-cn.quit:
				return
			}
		}
		cn.writes.Add(1)
		err := cn.ws.Write(context.Background(), websocket.MessageText, b)
		cn.writes.Add(1)
		if err != nil {
			cn.hangup = time.AfterFunc(closeGrace, cn.kill)
			return
		}
	}
}

// nextFrame takes the next frame to write, or returns nil if there is none. The order of precedence is: requests
// that wait for nothing, unsubscribes, subscribes, and then cancels, retries and submits while fewer are in flight than
// the server allows.
func (cn *conn) nextFrame() []byte {
	c := cn.c
	c.mu.Lock()
	if cap(cn.wbuf) > keptBuffer {
		cn.wbuf = nil
	}
	buf := cn.wbuf[:0]
	var k *call
	for k == nil {
		if c.cur != cn {
			c.mu.Unlock()
			return nil
		}
		switch {
		case !c.urgent.empty():
			k = c.urgent.head
		case len(c.unsubs) > 0:
			cn.wbuf = c.appendUnsubscribeLocked(cn, buf)
			c.mu.Unlock()
			return cn.wbuf
		case c.pruneDirtyLocked():
			cn.wbuf = c.appendSubscribeLocked(cn, buf)
			c.mu.Unlock()
			return cn.wbuf
		case cn.limits.InFlightSubmits > 0 && cn.inFlight >= cn.limits.InFlightSubmits:
			c.mu.Unlock()
			return nil
		case !c.orders.empty():
			k = c.orders.head
		case !c.submits.empty():
			k = c.submits.head
		default:
			c.mu.Unlock()
			return nil
		}
		k.list.remove(k)
		if limit := cn.limits.FrameBytes; limit > 0 && k.frameSize() > limit {
			// The server would close the socket (1009) with everything on it.
			k.finishLocked(newError(code.PayloadTooLarge, fmt.Sprintf("the frame has %d bytes, the server takes %d",
				k.frameSize(), limit)))
			k = nil
		}
	}
	k.sends++
	cn.calls[k.id] = k
	if k.counted() {
		cn.inFlight++
	}
	c.mu.Unlock()
	cn.wbuf = k.appendFrame(buf)
	return cn.wbuf
}

// kill closes the socket at once. The reader notices and cleans up.
func (cn *conn) kill() { _ = cn.raw.Close() }

// goodbye closes the socket with a closing handshake, within closeGrace.
func (cn *conn) goodbye() {
	t := time.AfterFunc(closeGrace, cn.kill)
	defer t.Stop()
	_ = cn.ws.Close(websocket.StatusNormalClosure, "")
}

// takeCallsLocked empties the table of unanswered calls, newest first.
func (cn *conn) takeCallsLocked() []*call {
	calls := make([]*call, 0, len(cn.calls))
	for id, k := range cn.calls {
		delete(cn.calls, id)
		calls = append(calls, k)
	}
	slices.SortFunc(calls, func(a, b *call) int { return int(int64(b.seq) - int64(a.seq)) })
	return calls
}

func (cn *conn) stopTimersLocked() {
	for _, t := range []*time.Timer{cn.laterTimer, cn.drainTimer} {
		if t != nil {
			t.Stop()
		}
	}
	cn.later = nil
}
