package limits

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Submit is a submit that was let in. Its zero value is none.
type Submit struct {
	limits *Limits
	tenant string
	bytes  int64
}

// BeginSubmit lets a submit of so many bytes in, until its End, or says why it is turned away. It
// costs little, and asks nobody while the tenant's count is fresh: those who take submits ask it first, before
// anything of them is read or checked.
func (l *Limits) BeginSubmit(ctx context.Context, name string, bytes int64) (Submit, error) {
	if l.cfg.Jobs > 0 {
		l.recount(ctx, name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	submitting := func(o *tenant) bool { return o != t && o.submits > 0 }
	switch {
	case l.submits >= l.cfg.Submits:
		return Submit{}, l.refuse(Submits, code.Overloaded, "%d submits wait for their ack", l.submits)
	case l.bytes+bytes > l.cfg.SubmitBytes:
		return Submit{}, l.refuse(SubmitBytes, code.Overloaded, "submits of %d bytes wait for their ack", l.bytes)
	case l.aboveShare(int64(l.submits), int64(t.submits), int64(l.cfg.Submits), submitting),
		l.bytes > 0 && l.aboveShare(l.bytes+bytes, t.bytes+bytes, l.room.size, submitting):
		return Submit{}, l.refuse(FairShare, code.Overloaded,
			"many submits wait for their ack, and the tenant has its share of them")
	case l.cfg.Jobs > 0 && t.open.Jobs+int64(t.submits) >= l.cfg.Jobs:
		return Submit{}, l.refuse(Jobs, code.LimitExceeded, "%d jobs of the tenant have not ended", t.open.Jobs)
	}
	if t.submitRate != nil {
		if err := l.take(t.submitRate, 1, SubmitRate, "the tenant may submit %g jobs per second",
			l.cfg.SubmitRate); err != nil {
			return Submit{}, err
		}
	}
	t.submits++
	t.bytes += bytes
	l.submits++
	l.bytes += bytes
	return Submit{limits: l, tenant: name, bytes: bytes}, nil
}

// End ends what BeginSubmit began; made says whether there is one more job now.
func (s Submit) End(made bool) {
	l := s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(s.tenant)
	t.submits--
	t.bytes -= s.bytes
	l.submits--
	l.bytes -= s.bytes
	if made {
		t.open.Jobs++
	}
}

// Took tells how long the submit took from when all of it was here until its answer: by this the
// limits learn how many may be under way.
func (s Submit) Took(d time.Duration) {
	l := s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.learn(time.Now(), d, s.bytes, l.bytes)
}

// Held is how many bytes of submits are counted.
func (l *Limits) Held() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// Webhook lets a submit in that asks for a webhook, or says why it is turned away: endpoints
// that nobody serves would else have any number of them wait.
func (l *Limits) Webhook(ctx context.Context, name string) error {
	if l.cfg.Webhooks == 0 {
		return nil
	}
	l.recount(ctx, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	if t.open.Webhooks >= l.cfg.Webhooks {
		return l.refuse(Webhooks, code.LimitExceeded, "%d webhooks of the tenant are still to be delivered", t.open.Webhooks)
	}
	t.open.Webhooks++ // until they are counted
	return nil
}

// Order lets a user's cancel or retry in, or says why it is turned away.
func (l *Limits) Order(name, subject string) error {
	if l.cfg.OrderRate == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.of(name).subject(subject)
	if user.orders == nil {
		user.orders = newRate(l.cfg.OrderRate, burst)
	}
	return l.take(user.orders, 1, OrderRate, "a user may cancel and retry %g jobs per second", l.cfg.OrderRate)
}

// List lets a user ask for one list or count of jobs, or says why it is turned away.
func (l *Limits) List(name, subject string) error {
	if l.cfg.ListRate == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.of(name).subject(subject)
	if user.lists == nil {
		user.lists = newRate(l.cfg.ListRate, burst)
	}
	return l.take(user.lists, 1, ListRate, "a user may ask for %g lists per second", l.cfg.ListRate)
}

// Ask lets a user ask for the states of n jobs, or says why it is turned away.
func (l *Limits) Ask(name, subject string, n int) error {
	if l.cfg.AskRate == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	user := l.of(name).subject(subject)
	if user.asks == nil {
		user.asks = newRate(l.cfg.AskRate, askBurst)
	}
	return l.take(user.asks, n, AskRate, "a user may ask for %g jobs per second", l.cfg.AskRate)
}

func newRate(perSecond float64, seconds float64) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(perSecond), max(minForRate, int(seconds*perSecond)))
}

// take takes n tokens, as many as there can be at most, or says when they will be there. l.mu is held.
func (l *Limits) take(from *rate.Limiter, n int, b Bound, detail string, args ...any) error {
	r := from.ReserveN(time.Now(), min(n, from.Burst()))
	wait := r.Delay()
	if wait <= 0 {
		return nil
	}
	r.Cancel()
	l.turned(b)
	p := frame.NewProblem(code.RateLimited, fmt.Sprintf(detail, args...))
	p.RetryAfter = wait.Seconds()
	return p
}

// recount asks what has not ended of the tenant, if the last answer is old and nobody asks
// already. When there is no answer the last one stands.
func (l *Limits) recount(ctx context.Context, name string) {
	l.mu.Lock()
	t := l.of(name)
	if t.counting || time.Since(t.counted) < countAge {
		l.mu.Unlock()
		return
	}
	t.counting = true
	l.mu.Unlock()
	open, err := l.count(ctx, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	t.counting, t.counted = false, time.Now()
	if err == nil {
		t.open = open
	}
}
