package gateway

import (
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/limits"
)

// Bounds of one HTTP exchange. Headers have those of internal/service: 10 s to come, and two
// minutes for the next request on a connection that is idle.
const (
	bodyTimeout   = 30 * time.Second // for a client to send its body, whoever reads it
	answerTimeout = time.Minute      // for a client to take each part of its answer
)

// guarded bounds how long a client may take over its request and its answer. The server
// itself reads what a handler left of a body, before it answers, and would wait for it for
// ever.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Time{}) // that of the answer before
		if r.Body != http.NoBody {
			_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		next.ServeHTTP(&guardedWriter{ResponseWriter: w, rc: rc}, r)
	})
}

// guardedWriter gives each write a deadline of its own, unless the handler sets them.
type guardedWriter struct {
	http.ResponseWriter
	rc  *http.ResponseController // of the ResponseWriter
	own bool                     // the handler sets deadlines
}

func (w *guardedWriter) extend() {
	if !w.own {
		_ = w.rc.SetWriteDeadline(time.Now().Add(answerTimeout))
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *guardedWriter) WriteHeader(status int) {
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *guardedWriter) Write(b []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(b)
}

// SetWriteDeadline is what http.ResponseController calls.
func (w *guardedWriter) SetWriteDeadline(t time.Time) error {
	w.own = true
	return w.rc.SetWriteDeadline(t)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *guardedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// connections bounds the connections that speak HTTP. Those that became sockets are bounded as
// sessions.
type connections struct {
	max     int
	metrics *metrics

	mu   sync.Mutex
	open map[net.Conn]http.ConnState
}

// connStates names what a connection was doing when it ended: waiting for its first byte, in a
// request or its headers, or between two requests.
var connStates = map[http.ConnState]string{http.StateNew: "new", http.StateActive: "request", http.StateIdle: "idle"}

func newConnections(most int, m *metrics) *connections {
	return &connections{max: most, metrics: m, open: map[net.Conn]http.ConnState{}}
}

// changed is http.Server's ConnState. A connection above the bound is closed before it is read.
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	was, known := c.open[conn]
	over := false
	switch state {
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	case http.StateNew:
		if over = len(c.open) >= c.max; !over {
			c.open[conn] = state
		}
	default:
		if known {
			c.open[conn] = state
		}
	}
	c.metrics.connections.Set(float64(len(c.open)))
	c.mu.Unlock()
	switch {
	case over:
		c.metrics.turnedAway(limits.Connections)
		_ = conn.Close()
	case known && state == http.StateClosed:
		c.metrics.connectionEnds.WithLabelValues(connStates[was]).Inc()
	}
}
