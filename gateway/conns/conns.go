package conns

import (
	"container/list"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/schemas/code"
)

// Config holds what the connections of a gateway need.
type Config struct {
	Connections      int // that may be open at the same time
	Strangers        int // whose client has not authenticated yet
	AddressStrangers int // of one address; 0 for no bound
	PingInterval     time.Duration

	TurnedAway func(limits.Bound)             // called when a bound is exceeded
	Refused    func(of code.Code, status int) // called when a request is refused that no handler has seen
	Log        *slog.Logger
	Metrics    prometheus.Registerer
}

// Conns bounds the HTTP connections. Those that have become sockets are bounded as sessions.
//
// A connection belongs to a stranger until a client has authenticated on it. Strangers have a bound of their own, and
// their connections are closed after an error. When there are too many connections, the one that has been idle for the
// longest time is closed; a request that is being served is never interrupted.
type Conns struct {
	cfg       Config
	strangers *strangers
	longLines *strangers // connections with a long request line that is not complete yet
	metrics   metrics

	mu   sync.Mutex // guards the fields below; strangers are called without it
	open map[net.Conn]*connection
	idle list.List // of net.Conn: idle connections of authenticated clients, the longest idle first
}

// connection is guarded by its owner's mu.
type connection struct {
	state    http.ConnState
	known    bool
	stranger *Stranger     // not nil while it belongs to a stranger
	idle     *list.Element // not nil while it is in Conns.idle
}

// connStates names what a connection was doing when it ended: waiting for its first byte, in a
// request or its headers, or between two requests.
var connStates = map[http.ConnState]string{http.StateNew: "new", http.StateActive: "request", http.StateIdle: "idle"}

// New returns the connections of a gateway; it has none yet.
func New(cfg Config) *Conns {
	s := newStrangers(cfg.Strangers, cfg.AddressStrangers, cfg.TurnedAway)
	return &Conns{
		cfg: cfg, strangers: s, metrics: newMetrics(cfg.Metrics, s.size), open: map[net.Conn]*connection{},
		longLines: newStrangers(MaxLongLines, 0, func(limits.Bound) { cfg.TurnedAway(limits.LongLines) }),
	}
}

// Listen returns a listener whose connections are bounded. They speak TLS if pair is not nil.
func (c *Conns) Listen(l net.Listener, pair *certs.Pair) net.Listener {
	if pair != nil {
		return c.listenTLS(l, pair)
	}
	return &headListener{Listener: l, all: c}
}

// Server returns the server of a handler for connections of a listener that Listen has made.
func (c *Conns) Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        c.guarded(h),
		ConnState:      c.changed,
		ConnContext:    withConn,
		HTTP2:          c.http2Config(),
		MaxHeaderBytes: MaxRequestLine + MaxHeaders, // headConn bounds each of them
	}
}

type connKey struct{}

// withConn is the ConnContext of http.Server: it puts the connection into its requests' contexts.
func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

func connOf(ctx context.Context) net.Conn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	return conn
}

// changed is the ConnState of http.Server. It closes a connection above the bound before it is read.
func (c *Conns) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.opened(conn)
		return
	case http.StateClosed, http.StateHijacked:
		c.ended(conn, state)
		return
	}
	if head, ok := conn.(*headConn); ok && state == http.StateIdle {
		head.begins()
	}
	c.mu.Lock()
	e := c.open[conn]
	stranger := false
	if e != nil {
		e.state = state
		c.busy(e)
		stranger = state == http.StateIdle && !e.known
		if state == http.StateIdle && e.known {
			e.idle = c.idle.PushBack(conn)
		}
	}
	c.mu.Unlock()
	if stranger {
		c.waits(conn)
	}
}

func (c *Conns) opened(conn net.Conn) {
	c.mu.Lock()
	known := c.open[conn] != nil // since before its TLS handshake
	full := len(c.open) >= c.cfg.Connections
	c.mu.Unlock()
	if known {
		return
	}
	if full {
		c.cfg.TurnedAway(limits.Connections)
		if !c.strangers.evict() && !c.closeIdle() {
			_ = hangUp(conn)
			return
		}
	}
	c.mu.Lock()
	c.open[conn] = &connection{state: http.StateNew}
	c.metrics.open.Set(float64(len(c.open)))
	c.mu.Unlock()
	c.waits(conn)
}

// closeIdle closes the connection of an authenticated client that has been idle for the longest time. It reports
// false if there is none.
func (c *Conns) closeIdle() bool {
	c.mu.Lock()
	front := c.idle.Front()
	c.mu.Unlock()
	if front == nil {
		return false
	}
	c.drop(front.Value.(net.Conn))
	return true
}

// drop closes a connection and forgets it.
func (c *Conns) drop(conn net.Conn) {
	_ = hangUp(conn)
	c.ended(conn, http.StateClosed)
}

// renamed records that a connection has another value from now on.
func (c *Conns) renamed(before, after net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.open[before]; e != nil {
		delete(c.open, before)
		c.open[after] = e
	}
}

// ended forgets a connection.
func (c *Conns) ended(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	e := c.open[conn]
	if e == nil {
		c.mu.Unlock()
		return
	}
	delete(c.open, conn)
	c.metrics.open.Set(float64(len(c.open)))
	c.busy(e)
	x, was := e.stranger, e.state
	c.mu.Unlock()
	c.strangers.leave(x)
	if state == http.StateClosed {
		c.metrics.ends.WithLabelValues(connStates[was]).Inc()
	}
}

// busy removes a connection from the idle ones. c.mu is held.
func (c *Conns) busy(e *connection) {
	if e.idle != nil {
		c.idle.Remove(e.idle)
		e.idle = nil
	}
}

// waits counts a connection as a stranger's until a request on it is served.
func (c *Conns) waits(conn net.Conn) {
	c.mu.Lock()
	e := c.open[conn]
	waiting := e != nil && e.stranger != nil // HTTP/2 becomes idle before its first request
	c.mu.Unlock()
	if waiting {
		return
	}
	x := c.strangers.enter(conn.RemoteAddr(), func() { c.drop(conn) })
	if x == nil {
		c.drop(conn)
		return
	}
	c.mu.Lock()
	if e := c.open[conn]; e != nil {
		e.stranger, x = x, nil
	}
	c.mu.Unlock()
	c.strangers.leave(x) // it has ended meanwhile
}

// serves records that a request on the connection was read.
func (c *Conns) serves(conn net.Conn) {
	c.mu.Lock()
	var x *Stranger
	if e := c.open[conn]; e != nil {
		x, e.stranger = e.stranger, nil
	}
	c.mu.Unlock()
	c.strangers.leave(x)
}

// AddrOf returns the address of the client of a request, by the request's context; nil if it is not known.
func AddrOf(ctx context.Context) net.Addr {
	if conn := connOf(ctx); conn != nil {
		return conn.RemoteAddr()
	}
	return nil
}

// Proved records that the client of a request has authenticated. ctx is the request's.
func (c *Conns) Proved(ctx context.Context) {
	conn := connOf(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.open[conn]; e != nil {
		e.known = true
	}
}

// isKnown reports whether a client has authenticated on the connection.
func (c *Conns) isKnown(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.open[conn]
	return e == nil || e.known // e is nil if the connection has ended, or is not the listener's
}
