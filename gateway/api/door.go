package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/requestid"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// door tells who the client of a request is, and whether it has a permission.
type door struct{ answers }

// identify returns the identity of a client with the permission that is needed. If it has none it answers 401 or 403,
// and reports false.
func (d *door) identify(w http.ResponseWriter, r *http.Request, needed auth.Permissions) (auth.Identity, bool) {
	id, present, err := d.cfg.Verifier.Identify(r)
	if err == nil && !present && !d.localPage(r) {
		d.problem(w, frame.NewProblem(code.Forbidden, "pages of other sites need a token"))
		return id, false
	}
	if p, ok := urlGrantProblem(err); ok {
		d.problem(w, p)
		return id, false
	}
	if err != nil {
		d.cfg.Log.Debug("request refused", "err", err)
		detail := "a valid token is needed"
		if errors.Is(err, auth.ErrProxied) {
			detail = "a request through a proxy needs a token"
		}
		d.problem(w, frame.NewProblem(code.Unauthenticated, detail))
		return id, false
	}
	return id, d.permitted(w, r, id, needed)
}

// permitted notes that the request's client has an identity, and reports whether that has a permission. If not it
// answers 403.
func (d *door) permitted(w http.ResponseWriter, r *http.Request, id auth.Identity, needed auth.Permissions) bool {
	d.cfg.Clients.Proved(r.Context())
	if !id.May(needed) {
		d.problem(w, forbidden(needed))
		return false
	}
	return true
}

// forbidden is the error for a client without a permission.
func forbidden(needed auth.Permissions) frame.Problem {
	return frame.NewProblem(code.Forbidden, fmt.Sprintf("the token does not permit this: it needs %s", needed))
}

// traceable returns the context in which a request's deeds are done: with the request's ID, and going on when its
// client leaves.
func traceable(w http.ResponseWriter, r *http.Request) context.Context {
	return requestid.With(context.WithoutCancel(r.Context()), w.Header().Get(requestid.Header))
}

// localPage reports whether a request without a token may come from a program or page of this machine. It refuses pages
// of other sites, including those whose own host name resolves to this machine (DNS rebinding).
func (d *door) localPage(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return service.Loopback(strings.Trim(host, "[]")) && d.cfg.Origins.Allow(r)
}

// Errors of grants in URLs.
var (
	errURLGrantRoute = frame.NewProblem(code.Forbidden, "a grant may stand only in URLs of event streams, streams of "+
		"jobs and results; elsewhere it is sent like a token")
	errURLGrantWide = frame.NewProblem(code.Forbidden, "a grant may stand in a URL only if it is limited to jobs and can "+
		"only read")
)

// urlGrantProblem returns the answer to a request whose grant in the URL is refused; ok is false for other errors.
func urlGrantProblem(err error) (p frame.Problem, ok bool) {
	switch {
	case errors.Is(err, auth.ErrNotInURL):
		return errURLGrantWide, true
	case errors.Is(err, auth.ErrTwoTokens):
		return frame.NewProblem(code.InvalidFrame, "the request has a token in a header and a grant in its URL"), true
	}
	return p, false
}

// takesURLGrant reports whether an endpoint takes a grant from a request's URL. All others refuse it: a URL is written
// to logs, shown in the address bar and sent to others.
func takesURLGrant(endpoint, method string) bool {
	read := method == http.MethodGet || method == http.MethodHead
	return read && (endpoint == "events" || endpoint == "result" || endpoint == "stream")
}
