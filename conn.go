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
	wake   chan struct{}          // one place: there may be something to write
	goaway chan frame.GoawayFrame // one place: the server asked to reconnect
	warned chan time.Duration     // one place: the server closes so soon, unless the token is renewed
	renew  chan time.Time         // one place: a renewal has ended; the expiry that holds now
	quit   chan struct{}          // closed by the reader: the writer ends
	silent chan struct{}          // closed by the writer when it has ended
	dead   chan struct{}          // closed by the reader last of all

	// Owned by the reader; err may be read by others once dead is closed.
	rbuf    []byte
	problem *Error // the last error frame that answered no request
	err     error

	// Owned by the writer; the reader stops hangup once silent is closed.
	wbuf   []byte
	hangup *time.Timer

	seen   atomic.Uint64 // frames and pings read: the watchdog's sign of life
	writes atomic.Uint64 // odd while a write is under way

	// Guarded by Client.mu.
	limits     frame.Limits
	calls      map[string]*call  // written, not answered
	batches    map[string][]*sub // subscribe frames written, not answered
	inFlight   int               // submits among calls
	draining   bool              // after a goaway: nothing new is written
	superseded bool              // another connection took over: close when calls is empty
	later      []*sub            // to be subscribed again when laterTimer fires
	laterTimer *time.Timer
	laterRound int
	drainTimer *time.Timer
}

// tap is a transport that hands the upgraded stream to its owner. The WebSocket library
// can only close a socket politely or after a write; a watchdog needs to close it now.
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

// connect opens a socket and reads up to the welcome.
func (c *Client) connect(ctx context.Context) (*conn, error) {
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

// read returns the next text frame; it is valid until the next read. A binary frame
// is returned as nil: the caller counts it as one that cannot be read.
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

// explain turns a read error into what callers should see: a CloseError when the
// server forbade to come back, else the plain cause.
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
		return errors.New(closed.text()) // not a CloseError: the client comes back by itself
	}
	return closed
}

func (cn *conn) noteProblem(b []byte) {
	var f frame.ErrorFrame
	if json.Unmarshal(b, &f) == nil {
		cn.problem = &Error{Problem: f.Problem}
	}
}

// readLoop reads until the socket ends and then takes the connection down, whichever side ended
// it: socket, writer, calls, in this order.
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

// writeLoop writes what the client has for this connection. After a failed write it
// leaves the reader a moment to find the server's close code before it hangs up.
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

// nextFrame takes what is to be written next: requests that wait for nothing, ends of
// watches, watches, then submits as far as the server's bound allows. nil: nothing.
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
		case !c.submits.empty() && (cn.limits.InFlightSubmits <= 0 || cn.inFlight < cn.limits.InFlightSubmits):
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
	if k.kind == frame.Submit {
		cn.inFlight++
	}
	c.mu.Unlock()
	cn.wbuf = k.appendFrame(buf)
	return cn.wbuf
}

// kill closes the socket at once. The reader notices and takes the rest down.
func (cn *conn) kill() { _ = cn.raw.Close() }

// goodbye closes the socket politely, within closeGrace.
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
