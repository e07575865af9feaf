package api

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// endpoint is the handler of a method of a route, with its name in the metrics.
type endpoint struct {
	name  string
	serve http.HandlerFunc
}

// route is a path with its methods.
type route struct {
	path    string
	methods map[string]endpoint
}

// serveRoute returns the handler of a route, which counts its requests.
func (d *door) serveRoute(methods map[string]endpoint) http.HandlerFunc {
	allowed := slices.Sorted(maps.Keys(methods))
	return func(w http.ResponseWriter, r *http.Request) {
		e, ok := methods[r.Method]
		if !ok {
			e = endpoint{methods[allowed[0]].name, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Allow", strings.Join(allowed, ", "))
				d.problem(w, frame.NewProblem(code.MethodNotAllowed, ""))
			}}
		}
		if _, inURL := auth.URLGrant(r); inURL && !takesURLGrant(e.name, r.Method) {
			e.serve = func(w http.ResponseWriter, _ *http.Request) { d.problem(w, errURLGrantRoute) }
		}
		d.serveEndpoint(e, w, r)
	}
}

// serveEndpoint serves a request by an endpoint, and counts it.
func (d *door) serveEndpoint(e endpoint, w http.ResponseWriter, r *http.Request) {
	sw := &statusWriter{ResponseWriter: w, began: time.Now()}
	defer func() {
		if v := recover(); v != nil {
			d.cfg.Log.Error("request panicked", "route", e.name, "panic", v)
			d.problem(sw, frame.NewProblem(code.Internal, ""))
		}
		d.cfg.Metrics.Request(e.name, sw.status, sw.took(), sw.Header().Get(preferenceApplied) != "")
	}()
	e.serve(sw, r)
}

// statusWriter records the status that was sent, and when.
type statusWriter struct {
	http.ResponseWriter
	began  time.Time
	status int
	head   time.Duration
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.answered(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *statusWriter) Write(b []byte) (int, error) {
	w.answered(http.StatusOK)
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) answered(status int) {
	if w.status == 0 {
		w.status, w.head = status, time.Since(w.began)
	}
}

// took returns the time until the answer's head was written. The time for the body depends on the client.
func (w *statusWriter) took() time.Duration {
	if w.status == 0 {
		return time.Since(w.began)
	}
	return w.head
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
