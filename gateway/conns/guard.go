package conns

import (
	"net/http"
	"time"
)

// Timeouts of one HTTP exchange. Those of headers are in internal/service: 10 s for the headers, and two
// minutes for the next request on an idle connection.
const (
	BodyTimeout   = 30 * time.Second // for sending the body
	AnswerTimeout = time.Minute      // for reading each part of the answer
)

// guarded bounds how long a client may take to send its request and to read its answer. Without it net/http, which
// reads the rest of a body that a handler has not read before it answers, could wait for ever.
func guarded(t *table, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetWriteDeadline(time.Time{}) // clears the deadline of the answer before
		if r.Body != http.NoBody {
			_ = rc.SetReadDeadline(time.Now().Add(BodyTimeout))
		}
		conn := connOf(r.Context())
		t.serves(conn)
		if head, ok := conn.(*headConn); ok {
			head.ends(true)
		}
		next.ServeHTTP(&guardedWriter{ResponseWriter: w, rc: rc, known: func() bool { return t.isKnown(conn) }}, r)
	})
}

// guardedWriter gives each write a deadline of its own, unless the handler sets them.
type guardedWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController // of the ResponseWriter
	own   bool                     // the handler sets deadlines
	known func() bool              // reports whether a client has authenticated on this connection
}

func (w *guardedWriter) extend() {
	if !w.own {
		_ = w.rc.SetWriteDeadline(time.Now().Add(AnswerTimeout))
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *guardedWriter) WriteHeader(status int) {
	w.extend()
	if h := w.Header(); status >= http.StatusBadRequest && h.Get("Connection") == "" && !w.known() {
		h.Set("Connection", "close") // a stranger's connection is not kept
	}
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
