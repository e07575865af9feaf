package gateway

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

const (
	asOfFormat        = "2006-01-02T15:04:05.000Z07:00"
	preferenceApplied = "Preference-Applied"
)

// readTimeout bounds a GET without Prefer: wait. Before a tracker may say that there is no such job it asks Kafka where
// the log ends, and reads up to there.
func (g *Gateway) readTimeout() time.Duration { return g.cfg.Kafka.Bounds().Delivery }

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

// routes returns all routes of the API. Each has a row in the table of doors, which says who may use it for what.
func (g *Gateway) routes() []route {
	read := func(name string, serve http.HandlerFunc) map[string]endpoint {
		return map[string]endpoint{http.MethodGet: {name, serve}, http.MethodHead: {name, serve}}
	}
	post := func(name string, serve http.HandlerFunc) map[string]endpoint {
		return map[string]endpoint{http.MethodPost: {name, serve}}
	}
	jobs := read("list", gzipped(g.listJobs))
	jobs[http.MethodPost] = endpoint{"submit", g.postJob}
	one := read("get", g.getJob)
	one[http.MethodDelete] = endpoint{"erase", g.deleteJob}
	events := read("events", g.getEvents)
	events[http.MethodPost] = endpoint{"events", g.postEvents}
	return []route{
		{"/v1/jobs", jobs},
		{"/v1/jobs/{id}", one},
		{"/v1/jobs/{id}/why", read("why", g.getWhy)},
		{"/v1/jobs/{id}/result", read("result", g.getResult)},
		{"/v1/jobs/{id}/deliveries", read("deliveries", g.getDeliveries)},
		{"/v1/jobs/{id}/events", read("events", g.getJobEvents)},
		{"/v1/events", events},
		{"/v1/jobs/{id}/cancel", post("cancel", g.orderJob(auth.Cancel, g.intake.Cancel))},
		{"/v1/jobs/{id}/retry", post("retry", g.orderJob(auth.Submit, g.intake.Retry))},
		{"/v1/stats", read("stats", gzipped(g.getStats))},
		{"/v1/grants", post("grant", g.postGrant)},
		{"/v1/ws-tickets", post("ticket", g.postTicket)},
		{"/v1/ws", map[string]endpoint{http.MethodGet: {"ws", g.socket}}},
	}
}

// handler returns the handler of all routes, with the middleware around it.
func (g *Gateway) handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range g.routes() {
		mux.HandleFunc(r.path, g.serveRoute(r.methods))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		g.problem(w, frame.NewProblem(code.NotFound, "no such route"))
		g.metrics.request(otherRoute, http.StatusNotFound, 0, false)
	})
	return identified(g.boundStreams(g.leavingSaid(g.crossOrigin(g.readable(mux)))))
}

// serveRoute returns the handler of a route, which counts its requests.
func (g *Gateway) serveRoute(methods map[string]endpoint) http.HandlerFunc {
	allowed := slices.Sorted(maps.Keys(methods))
	return func(w http.ResponseWriter, r *http.Request) {
		e, ok := methods[r.Method]
		if !ok {
			e = endpoint{methods[allowed[0]].name, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Allow", strings.Join(allowed, ", "))
				g.problem(w, frame.NewProblem(code.MethodNotAllowed, ""))
			}}
		}
		if _, inURL := auth.URLGrant(r); inURL && !takesURLGrant(e.name, r.Method) {
			e.serve = func(w http.ResponseWriter, _ *http.Request) { g.problem(w, errURLGrantRoute) }
		}
		sw := &statusWriter{ResponseWriter: w, began: time.Now()}
		defer func() {
			if v := recover(); v != nil {
				g.log.Error("request panicked", "route", e.name, "panic", v)
				g.problem(sw, frame.NewProblem(code.Internal, ""))
			}
			g.metrics.request(e.name, sw.status, sw.took(), sw.Header().Get(preferenceApplied) != "")
		}()
		e.serve(sw, r)
	}
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

// problem answers with application/problem+json (RFC 9457).
func (g *Gateway) problem(w http.ResponseWriter, err error) {
	var p frame.Problem
	if !errors.As(err, &p) {
		g.log.Error("request failed", "request", w.Header().Get(problem.RequestIDHeader), "err", err)
		p = frame.NewProblem(code.Internal, "")
	}
	p.Status = p.Code.Info().HTTP
	g.metrics.Error(p.Code)
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	if p.Code == code.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(p.RetryAfter+0.999)))
	}
	w.WriteHeader(p.Status)
	_ = plainjson.Write(w, p)
}

// identify returns the identity of a client with the permission that is needed. If it has none it answers 401 or 403,
// and reports false.
func (g *Gateway) identify(w http.ResponseWriter, r *http.Request, needed auth.Permissions) (auth.Identity, bool) {
	id, present, err := g.verifier.Identify(r)
	if err == nil && !present && !g.localPage(r) {
		g.problem(w, frame.NewProblem(code.Forbidden, "pages of other sites need a token"))
		return id, false
	}
	if p, ok := urlGrantProblem(err); ok {
		g.problem(w, p)
		return id, false
	}
	if err != nil {
		g.log.Debug("request refused", "err", err)
		detail := "a valid token is needed"
		if errors.Is(err, auth.ErrProxied) {
			detail = "a request through a proxy needs a token"
		}
		g.problem(w, frame.NewProblem(code.Unauthenticated, detail))
		return id, false
	}
	return id, g.permitted(w, r, id, needed)
}

// permitted notes that the request's client has an identity, and reports whether that has a permission. If not it
// answers 403.
func (g *Gateway) permitted(w http.ResponseWriter, r *http.Request, id auth.Identity, needed auth.Permissions) bool {
	g.conns.Proved(r.Context())
	if !id.May(needed) {
		g.problem(w, forbidden(needed))
		return false
	}
	return true
}

// forbidden is the error for a client without a permission.
func forbidden(needed auth.Permissions) frame.Problem {
	return frame.NewProblem(code.Forbidden, fmt.Sprintf("the token does not permit this: it needs %s", needed))
}

// orderJob returns the handler of POST /v1/jobs/{id}/cancel or …/retry.
func (g *Gateway) orderJob(
	needed auth.Permissions, order func(context.Context, auth.Identity, string) (frame.AckFrame, int64, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, ok := g.identify(w, r, 0)
		if !ok {
			return
		}
		if !id.MayOrder(needed) {
			g.problem(w, forbidden(needed))
			return
		}
		ack, _, err := order(traceable(w, r), id, r.PathValue("id"))
		if err != nil {
			g.problem(w, err)
			return
		}
		h := w.Header()
		h.Set("Location", ack.StatusURL)
		h.Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_ = plainjson.Write(w, ack)
	}
}

// getJob handles GET /v1/jobs/{id}.
func (g *Gateway) getJob(w http.ResponseWriter, r *http.Request) {
	id, jobID, ok := g.reads(w, r)
	if !ok {
		return
	}
	wait, err := preferWait(r)
	if err != nil {
		g.problem(w, err)
		return
	}
	if wait > 0 { // it counts as a session of its user
		if err := g.limits.OpenSession(id.Tenant, id.Account()); err != nil {
			g.problem(w, err)
			return
		}
		defer g.limits.CloseSession(id.Tenant, id.Account())
	}
	got, err := g.read(r.Context(), id.Scope(auth.Read).GetRequest(jobID), wait)
	if err != nil {
		g.problem(w, problem.OfTracker(err))
		return
	}
	if wait > 0 {
		w.Header().Set(preferenceApplied, waitApplied(wait))
	}
	if got.AsOf > 0 {
		w.Header().Set(frame.AsOfHeader, unixTime(got.AsOf).Format(asOfFormat))
	}
	if seen(r.Header.Get("If-None-Match"), etag(got.Job.Version)) {
		w.Header().Set("ETag", etag(got.Job.Version))
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if wait > 0 {
		g.pushJob(w, got.Job)
		return
	}
	writeJob(w, got.Job)
}

func writeJob(w http.ResponseWriter, j *trackerpb.Job) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("ETag", etag(j.Version))
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Length", strconv.Itoa(len(j.Document)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(j.Document)
}

func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// seen reports whether the header If-None-Match matches a tag: it may list several tags, weak ones too, or be * (RFC
// 9110 §13.1.2).
func seen(h, tag string) bool {
	for t := range strings.SplitSeq(h, ",") {
		if t = strings.TrimSpace(t); t == "*" || strings.TrimPrefix(t, "W/") == tag {
			return true
		}
	}
	return false
}

// socket handles GET /v1/ws: it checks the origin, and the ticket or token if there is one, and upgrades the request.
func (g *Gateway) socket(w http.ResponseWriter, r *http.Request) {
	refuseWith := func(p frame.Problem) {
		g.metrics.handshakes.WithLabelValues(string(p.Code)).Inc()
		if p.Retryable && p.RetryAfter == 0 {
			p.RetryAfter = problem.RetryAfter.Seconds()
		}
		g.problem(w, p)
	}
	refuse := func(c code.Code, detail string) { refuseWith(frame.NewProblem(c, detail)) }
	if !g.origins.Allow(r) {
		refuse(code.Forbidden, "pages of this origin may not open a socket")
		return
	}
	var p frame.Problem
	if ticket := r.URL.Query().Get(ticketParam); ticket != "" {
		if errors.As(g.pace.turn(r.Context()), &p) { // before the ticket is used up
			refuseWith(p)
			return
		}
		id, err := g.redeem(r.Context(), ticket)
		switch {
		case errors.As(err, &p):
			refuse(p.Code, p.Detail)
		case err != nil:
			g.log.Error("ticket not redeemed", "err", err)
			refuse(code.Internal, "")
		default:
			g.upgrade(w, r, &id, refuse)
		}
		return
	}
	identity, present, err := g.verifier.Identify(r)
	if err == nil && !present && !g.localPage(r) {
		refuse(code.Forbidden, "pages of this origin may not open a socket")
		return
	}
	if err != nil && present {
		g.log.Debug("handshake refused", "err", err)
		refuse(code.Unauthenticated, "the token was refused")
		return
	}
	who := &identity
	if err != nil {
		who = nil // the first frame must authenticate
	}
	if errors.As(g.pace.turn(r.Context()), &p) { // after the token was checked, so that bad tokens use up no turns
		refuseWith(p)
		return
	}
	g.upgrade(w, r, who, refuse)
}

// upgrade turns a handshake into a session.
func (g *Gateway) upgrade(w http.ResponseWriter, r *http.Request, who *auth.Identity, refuse func(code.Code, string)) {
	err := g.admit(w, r, who)
	var p frame.Problem
	switch {
	case err == nil:
		g.metrics.handshakes.WithLabelValues(handshakeOK).Inc()
	case errors.As(err, &p):
		refuse(p.Code, p.Detail)
	default:
		g.metrics.handshakes.WithLabelValues(string(code.InvalidFrame)).Inc()
	}
}

// noHandshake returns the error for a request that is not a WebSocket handshake.
func noHandshake(err error) error {
	no, ok := errors.AsType[*session.NoHandshake](err)
	switch {
	case !ok:
		return err
	case no.Status == http.StatusUpgradeRequired:
		return frame.NewProblem(code.UpgradeRequired, "this is the route of WebSockets: a handshake is needed")
	case no.Status >= http.StatusInternalServerError: // cannot happen: our server always supports Hijack
		return frame.NewProblem(code.Internal, "")
	}
	reason := no.Error()
	return frame.NewProblem(code.InvalidFrame, text.Clip(reason, problem.MaxReason))
}

// localPage reports whether a request without a token may come from a program or page of this machine. It refuses pages
// of other sites, including those whose own host name resolves to this machine (DNS rebinding).
func (g *Gateway) localPage(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return service.Loopback(strings.Trim(host, "[]")) && g.origins.Allow(r)
}

// deleteJob handles DELETE /v1/jobs/{id}.
func (g *Gateway) deleteJob(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, auth.Read|auth.Erase)
	if !ok {
		return
	}
	if err := g.intake.Erase(traceable(w, r), id, r.PathValue("id")); err != nil {
		g.problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// traceable returns the context in which a request's deeds are done: with the request's ID, and going on when its
// client leaves.
func traceable(w http.ResponseWriter, r *http.Request) context.Context {
	return session.WithRequest(context.WithoutCancel(r.Context()), w.Header().Get(problem.RequestIDHeader))
}
