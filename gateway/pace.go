package gateway

import (
	"context"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// maxTurn is how long a handshake may wait for its turn; with the rate it bounds how many wait.
const maxTurn = time.Second

// pace lets sockets and event streams in one after the other when many come at once, as after
// a restart: those that are open are served meanwhile. Who would wait for long is told to come
// back, each after a time of its own, so that they do not come back as one.
type pace struct {
	// Set by newPace, then only read.
	turns  *rate.Limiter // nil: nobody waits
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

// turn returns when it is the caller's turn, or with a frame.Problem.
func (p *pace) turn(ctx context.Context) error {
	if p.turns == nil {
		return nil
	}
	mine := p.turns.Reserve()
	wait := mine.Delay()
	if wait <= 0 {
		return nil
	}
	if wait > maxTurn {
		mine.Cancel()
		p.turned(limits.HandshakeRate)
		return comeBack(wait, "many come at once")
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.drain:
		mine.Cancel()
		return comeBack(0, "the gateway stops")
	case <-ctx.Done(): // nobody reads the answer
		mine.Cancel()
		return comeBack(0, "")
	}
}

// comeBack is told with a time between one and two turns from now.
func comeBack(wait time.Duration, detail string) error {
	problem := frame.NewProblem(code.Overloaded, detail)
	problem.RetryAfter = (wait + time.Duration(rand.Int64N(int64(max(wait, retryAfter))))).Seconds()
	return problem
}
