package api

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// maxTurn is how long a handshake may wait for its turn; with the rate it bounds how many wait.
const maxTurn = time.Second

// pace limits the rate at which sockets and event streams are accepted when many come at once, as after a restart, so
// that open ones are served meanwhile. Clients that would wait for too long are refused, each with another time to come
// back, so that they do not all return at once.
type pace struct {
	// Set by newPace, then only read.
	turns  *rate.Limiter // nil if there is no limit
	turned func(limits.Bound)
	drain  <-chan struct{}
}

func newPace(perSecond float64, turned func(limits.Bound), drain <-chan struct{}) *pace {
	p := &pace{turned: turned, drain: drain}
	if perSecond > 0 {
		p.turns = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
	}
	return p
}

// turn waits for the caller's turn. The error is a frame.Problem.
func (p *pace) turn(ctx context.Context) error {
	if p.turns == nil {
		return nil
	}
	place := p.turns.Reserve()
	wait := place.Delay()
	if wait <= 0 {
		return nil
	}
	if wait > maxTurn {
		place.Cancel()
		p.turned(limits.HandshakeRate)
		return comeBack(wait, "many come at once")
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.drain:
		place.Cancel()
		return comeBack(0, "the gateway stops")
	case <-ctx.Done(): // the client has left
		place.Cancel()
		return comeBack(0, "")
	}
}

// comeBack returns a refusal with a random time to come back, between one and two times wait.
func comeBack(wait time.Duration, detail string) error {
	p := frame.NewProblem(code.Overloaded, detail)
	p.RetryAfter = (wait + time.Duration(rand.Int64N(int64(max(wait, problem.RetryAfter))))).Seconds()
	return p
}
