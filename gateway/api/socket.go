package api

import (
	"errors"
	"net/http"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// sockets are the route of WebSockets.
type sockets struct {
	*door
	pace    *pace
	tickets *tickets
}

// socket handles GET /v1/ws: it checks the origin, and the ticket or token if there is one, and upgrades the request.
func (so *sockets) socket(w http.ResponseWriter, r *http.Request) {
	refuseWith := func(p frame.Problem) {
		so.cfg.Metrics.handshakes.WithLabelValues(string(p.Code)).Inc()
		if p.Retryable && p.RetryAfter == 0 {
			p.RetryAfter = problem.RetryAfter.Seconds()
		}
		so.problem(w, p)
	}
	refuse := func(c code.Code, detail string) { refuseWith(frame.NewProblem(c, detail)) }
	if !so.cfg.Origins.Allow(r) {
		refuse(code.Forbidden, "pages of this origin may not open a socket")
		return
	}
	var p frame.Problem
	if ticket := r.URL.Query().Get(ticketParam); ticket != "" {
		if errors.As(so.pace.turn(r.Context()), &p) { // before the ticket is used up
			refuseWith(p)
			return
		}
		id, err := so.tickets.redeem(r.Context(), ticket)
		switch {
		case errors.As(err, &p):
			refuse(p.Code, p.Detail)
		case err != nil:
			so.cfg.Log.Error("ticket not redeemed", "err", err)
			refuse(code.Internal, "")
		default:
			so.upgrade(w, r, &id, refuse)
		}
		return
	}
	identity, present, err := so.cfg.Verifier.Identify(r)
	if err == nil && !present && !so.localPage(r) {
		refuse(code.Forbidden, "pages of this origin may not open a socket")
		return
	}
	if err != nil && present {
		so.cfg.Log.Debug("handshake refused", "err", err)
		refuse(code.Unauthenticated, "the token was refused")
		return
	}
	who := &identity
	if err != nil {
		who = nil // the first frame must authenticate
	}
	if errors.As(so.pace.turn(r.Context()), &p) { // after the token was checked, so that bad tokens use up no turns
		refuseWith(p)
		return
	}
	so.upgrade(w, r, who, refuse)
}

// upgrade turns a handshake into a session.
func (so *sockets) upgrade(w http.ResponseWriter, r *http.Request, who *auth.Identity, refuse func(code.Code, string)) {
	err := so.cfg.Admit(w, r, who)
	var p frame.Problem
	switch {
	case err == nil:
		so.cfg.Metrics.handshakes.WithLabelValues(handshakeOK).Inc()
	case errors.As(err, &p):
		refuse(p.Code, p.Detail)
	default:
		so.cfg.Metrics.handshakes.WithLabelValues(string(code.InvalidFrame)).Inc()
	}
}
