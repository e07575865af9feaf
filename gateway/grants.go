package gateway

import (
	"errors"
	"net/http"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// postGrant handles POST /v1/grants.
func (g *Gateway) postGrant(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, 0)
	if !ok {
		return
	}
	if err := g.limits.Ask(id.Tenant, id.Account(), 1); err != nil {
		g.problem(w, err)
		return
	}
	body, err := g.readJSON(w, r, int64(g.cfg.FrameBytes))
	if err != nil {
		g.problem(w, err)
		return
	}
	asked, err := wire.DecodeGrant(body)
	if err != nil {
		g.problem(w, err)
		return
	}
	grant, claims, err := g.verifier.NewGrant(id, asked)
	if err != nil {
		g.problem(w, err)
		return
	}
	g.intake.Audit.GrantMade(traceable(w, r), id, claims)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	_ = plainjson.Write(w, grant)
}

// takesURLGrant reports whether an endpoint takes a grant from a request's URL. All others refuse it: a URL is written
// to logs, shown in the address bar and sent to others.
func takesURLGrant(endpoint, method string) bool {
	read := method == http.MethodGet || method == http.MethodHead
	return read && (endpoint == "events" || endpoint == "result")
}

var (
	errURLGrantRoute = frame.NewProblem(code.Forbidden, "a grant may stand only in URLs of event streams and results; "+
		"elsewhere it is sent like a token")
	errURLGrantWide = frame.NewProblem(code.Forbidden, "a grant may stand in a URL only if it is limited to jobs and can "+
		"only read")
)

// follower is identify for event streams, which take tickets, too. paced reports whether the request has had its turn
// of handshakes (pace) already.
func (g *Gateway) follower(w http.ResponseWriter, r *http.Request) (id auth.Identity, paced, ok bool) {
	ticket := r.URL.Query().Get(ticketParam)
	if ticket == "" {
		id, ok = g.identify(w, r, auth.Read)
		return id, false, ok
	}
	if err := g.pace.turn(r.Context()); err != nil { // before the ticket is used up
		g.problem(w, err)
		return id, true, false
	}
	id, err := g.redeem(r.Context(), ticket)
	if err != nil {
		g.problem(w, err)
		return id, true, false
	}
	return id, true, g.permitted(w, r, id, auth.Read)
}

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
