package gateway

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/text"
)

// sessions are the open sockets.
type sessions struct {
	// Set by newSessions, then only read.
	cfg     *session.Config
	most    int // that may be open
	conns   *conns.Conns
	metrics *metrics

	mu     sync.Mutex                      // guards the fields below
	open   map[*session.Session]int        // open sessions, and the slot of the wheel that each is in
	wheel  []map[*session.Session]struct{} // a timing wheel of pings: one slot per second is pinged
	hand   int                             // the slot whose turn it is
	closed bool
	served sync.WaitGroup
}

func newSessions(cfg *session.Config, most int, c *conns.Conns, m *metrics) *sessions {
	s := &sessions{
		cfg: cfg, most: most, conns: c, metrics: m, open: map[*session.Session]int{},
		wheel: make([]map[*session.Session]struct{}, max(1, int(cfg.PingInterval/time.Second))),
	}
	for i := range s.wheel {
		s.wheel[i] = map[*session.Session]struct{}{}
	}
	return s
}

// admit opens a session for a request. The error is a frame.Problem if the session is refused, and any other error if
// the connection broke.
func (s *sessions) admit(w http.ResponseWriter, r *http.Request, identity *auth.Identity) error {
	s.mu.Lock()
	full := s.closed || len(s.open) >= s.most
	s.mu.Unlock()
	if full {
		s.metrics.turnedAway(limits.AllSessions)
		return frame.NewProblem(code.Overloaded, "no more sockets are taken now")
	}
	if identity != nil {
		if err := s.cfg.Limits.OpenSession(identity.Tenant, identity.Account()); err != nil {
			return err
		}
	}
	addr := conns.AddrOf(r.Context())
	one, err := session.Accept(w, r, uuid.NewString(), s.cfg, identity)
	if err != nil {
		if identity != nil {
			s.cfg.Limits.CloseSession(identity.Tenant, identity.Account())
		}
		s.cfg.Log.Debug("handshake failed", "err", err)
		return noHandshake(err)
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		if one.Discard(); identity != nil {
			s.cfg.Limits.CloseSession(identity.Tenant, identity.Account())
		}
		return nil
	}
	slot := rand.IntN(len(s.wheel))
	s.open[one] = slot
	s.wheel[slot][one] = struct{}{}
	s.served.Add(1)
	s.mu.Unlock()
	s.metrics.sessions.Inc()
	var waiting *conns.Stranger
	if identity == nil {
		waiting = s.conns.Enter(addr, func() { one.Close(code.CloseTryAgainLater) })
		if waiting == nil {
			one.Close(code.CloseTryAgainLater)
		}
		one.Proved = func() { s.conns.Leave(waiting) }
	}
	// The session runs in goroutines of its own: the handler's has a large stack, and buffers of net/http.
	one.Start(func() {
		defer s.served.Done()
		s.conns.Leave(waiting)
		s.mu.Lock()
		delete(s.wheel[slot], one)
		delete(s.open, one)
		s.mu.Unlock()
		s.metrics.sessions.Dec()
		s.metrics.closed(one.Closed())
	})
	return nil
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

// ping turns the timing wheel: each second it pings the sessions of one slot, so each session once per interval. It
// calls sweep each time.
func (s *sessions) ping(ctx context.Context, sweep func()) error {
	tick := time.NewTicker(s.cfg.PingInterval / time.Duration(len(s.wheel)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		sweep()
		s.mu.Lock()
		s.hand = (s.hand + 1) % len(s.wheel)
		due := make([]*session.Session, 0, len(s.wheel[s.hand]))
		for one := range s.wheel[s.hand] {
			due = append(due, one)
		}
		s.mu.Unlock()
		for _, one := range due {
			one.Ping()
		}
	}
}
