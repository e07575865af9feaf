package api

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/klauspost/compress/gzhttp"
	"github.com/rs/cors"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/stream"
)

// This file has the middleware that every request passes through.

const (
	corsMaxAge   = 600  // seconds that a browser keeps the answer to a preflight
	gzipMinBytes = 1400 // smaller answers fit into one packet anyway
)

var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identified gives each request an ID, which is in the answer and in the log: the client's own if it has only harmless
// characters. It also tells browsers not to guess content types, so that no answer is shown as a page, and to tell no
// other site the request's URL, which may have a grant.
func identified(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestid.Header)
		if !requestIDs.MatchString(id) {
			id = uuid.NewString()
		}
		w.Header().Set(requestid.Header, id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		if parent := r.Header.Get(frame.TraceparentHeader); tracing.Parse(parent, "").IsValid() {
			w.Header().Set(frame.TraceparentHeader, parent)
		}
		next.ServeHTTP(w, r)
	})
}

// leavingSaid closes connections after the next answer once the gateway is told to stop: a connection that is idle when
// the listener closes could otherwise be closed just when its client sends a request.
func (d *door) leavingSaid(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-d.cfg.Leaving:
			w.Header().Set("Connection", "close")
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// crossOrigin allows pages of the configured origins to use the HTTP API (CORS, Fetch standard). They authenticate
// with a token; cookies are not used.
func (d *door) crossOrigin(next http.Handler) http.Handler {
	if len(d.cfg.Origins) == 0 {
		return next
	}
	return cors.New(cors.Options{
		AllowOriginFunc: d.cfg.Origins.Names,
		AllowedMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", frame.KeyHeader, "If-None-Match", lastEventID, "Prefer",
			"Range", frame.TraceparentHeader, frame.TracestateHeader, requestid.Header},
		ExposedHeaders: []string{"Content-Disposition", "Content-Range", "ETag", "Location", preferenceApplied, "Retry-After",
			frame.AsOfHeader, frame.WarningHeader, requestid.Header, stream.HTTPNextOffset,
			stream.HTTPUpToDate, stream.HTTPCursor, stream.HTTPClosed},
		MaxAge:               corsMaxAge,
		OptionsSuccessStatus: http.StatusNoContent,
	}).Handler(next)
}

// readable refuses requests whose path or query cannot be decoded or is not UTF-8: no resource has such a name, and it
// could not be sent to a tracker.
func (d *door) readable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, err := url.QueryUnescape(r.URL.RawQuery)
		switch {
		case err != nil:
			d.unreadable(w, "the query could not be read: "+err.Error())
		case !utf8.ValidString(query):
			d.unreadable(w, "the query is not UTF-8")
		case !utf8.ValidString(r.URL.Path):
			d.unreadable(w, "the path is not UTF-8")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (d *door) unreadable(w http.ResponseWriter, detail string) {
	d.problem(w, frame.NewProblem(code.InvalidFrame, strings.ToValidUTF8(detail, "\uFFFD")))
	d.cfg.Metrics.Request(otherRoute, http.StatusBadRequest, 0, false)
}

// gzipped compresses large answers for clients that accept gzip.
func gzipped(serve http.HandlerFunc) http.HandlerFunc {
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(gzipMinBytes))
	if err != nil {
		panic(err) // cannot happen: the options are constants
	}
	return wrap(serve)
}

// boundStreams bounds the requests of all HTTP/2 connections that are served at the same time. Those of HTTP/1.1 are
// bounded by the connections.
func (d *door) boundStreams(serving *atomic.Int64, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 {
			next.ServeHTTP(w, r)
			return
		}
		defer serving.Add(-1)
		if serving.Add(1) > int64(d.cfg.Connections) {
			d.cfg.TurnedAway(limits.Connections)
			p := frame.NewProblem(code.Overloaded, "no more requests are taken now")
			p.RetryAfter = problem.RetryAfter.Seconds()
			d.problem(w, p)
			return
		}
		next.ServeHTTP(w, r)
	})
}
