package conns

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"github.com/ackwire/ackwire/gateway/limits"
)

// table has the open HTTP connections, and bounds them. Those that have become sockets are bounded as sessions.
//
// A connection belongs to a stranger until a client has authenticated on it. Strangers have a bound of their own, and
// their connections are closed after an error. When there are too many connections, the one that has been idle for the
// longest time is closed; a request that is being served is never interrupted.
type table struct {
	cfg       *Config
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
	idle     *list.Element // not nil while it is in table.idle
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
func (t *table) changed(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		t.opened(conn)
		return
	case http.StateClosed, http.StateHijacked:
		t.ended(conn, state)
		return
	}
	if head, ok := conn.(interface{ begins() }); ok && state == http.StateIdle {
		head.begins()
	}
	t.mu.Lock()
	e := t.open[conn]
	stranger := false
	if e != nil {
		e.state = state
		t.busy(e)
		stranger = state == http.StateIdle && !e.known
		if state == http.StateIdle && e.known {
			e.idle = t.idle.PushBack(conn)
		}
	}
	t.mu.Unlock()
	if stranger {
		t.waits(conn)
	}
}

func (t *table) opened(conn net.Conn) {
	t.mu.Lock()
	known := t.open[conn] != nil // since before its TLS handshake
	full := len(t.open) >= t.cfg.Connections
	t.mu.Unlock()
	if known {
		return
	}
	if full {
		t.cfg.TurnedAway(limits.Connections)
		if !t.strangers.evict() && !t.closeIdle() {
			_ = hangUp(conn)
			return
		}
	}
	t.mu.Lock()
	t.open[conn] = &connection{state: http.StateNew}
	t.metrics.open.Set(float64(len(t.open)))
	t.mu.Unlock()
	t.waits(conn)
}

// closeIdle closes the connection of an authenticated client that has been idle for the longest time. It reports
// false if there is none.
func (t *table) closeIdle() bool {
	t.mu.Lock()
	front := t.idle.Front()
	t.mu.Unlock()
	if front == nil {
		return false
	}
	t.drop(front.Value.(net.Conn))
	return true
}

// drop closes a connection and forgets it.
func (t *table) drop(conn net.Conn) {
	_ = hangUp(conn)
	t.ended(conn, http.StateClosed)
}

// renamed records that a connection has another value from now on.
func (t *table) renamed(before, after net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.open[before]; e != nil {
		delete(t.open, before)
		t.open[after] = e
	}
}

// ended forgets a connection.
func (t *table) ended(conn net.Conn, state http.ConnState) {
	t.mu.Lock()
	e := t.open[conn]
	if e == nil {
		t.mu.Unlock()
		return
	}
	delete(t.open, conn)
	t.metrics.open.Set(float64(len(t.open)))
	t.busy(e)
	x, was := e.stranger, e.state
	t.mu.Unlock()
	t.strangers.leave(x)
	if state == http.StateClosed {
		t.metrics.ends.WithLabelValues(connStates[was]).Inc()
	}
}

// busy removes a connection from the idle ones. t.mu is held.
func (t *table) busy(e *connection) {
	if e.idle != nil {
		t.idle.Remove(e.idle)
		e.idle = nil
	}
}

// waits counts a connection as a stranger's until a request on it is served.
func (t *table) waits(conn net.Conn) {
	t.mu.Lock()
	e := t.open[conn]
	waiting := e != nil && e.stranger != nil // HTTP/2 becomes idle before its first request
	t.mu.Unlock()
	if waiting {
		return
	}
	x := t.strangers.enter(conn.RemoteAddr(), func() { t.drop(conn) })
	if x == nil {
		t.drop(conn)
		return
	}
	t.mu.Lock()
	if e := t.open[conn]; e != nil {
		e.stranger, x = x, nil
	}
	t.mu.Unlock()
	t.strangers.leave(x) // it has ended meanwhile
}

// serves records that a request on the connection was read.
func (t *table) serves(conn net.Conn) {
	t.mu.Lock()
	var x *Stranger
	if e := t.open[conn]; e != nil {
		x, e.stranger = e.stranger, nil
	}
	t.mu.Unlock()
	t.strangers.leave(x)
}

// AddrOf returns the address of the client of a request, by the request's context; nil if it is not known.
func AddrOf(ctx context.Context) net.Addr {
	if conn := connOf(ctx); conn != nil {
		return conn.RemoteAddr()
	}
	return nil
}

// Proved records that the client of a request has authenticated. ctx is the request's.
func (t *table) Proved(ctx context.Context) {
	conn := connOf(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.open[conn]; e != nil {
		e.known = true
	}
}

// isKnown reports whether a client has authenticated on the connection.
func (t *table) isKnown(conn net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.open[conn]
	return e == nil || e.known // e is nil if the connection has ended, or is not the listener's
}

// hangUp closes a connection at once. With TLS it sends no last alert.
func hangUp(conn net.Conn) error {
	switch c := conn.(type) {
	case interface{ hangUp() error }:
		return c.hangUp()
	case *tls.Conn:
		return c.NetConn().Close()
	}
	return conn.Close()
}
