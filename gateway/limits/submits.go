package limits

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Submit is a submit that was admitted. The caller must End it.
type Submit struct {
	limits *Limits
	tenant string
	bytes  int64
	within bool // a batch, which has its bytes counted
}

// Batch is a batch of submits that was admitted. The caller must End it.
type Batch struct {
	limits *Limits
	tenant string
	bytes  int64
}

// BeginBatch admits a batch of that many bytes, until its End. The error, a frame.Problem, says why it is refused. The
// batch itself is no submit: each of its submits is admitted by BeginItem.
func (l *Limits) BeginBatch(name string, bytes int64) (Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	if err := l.roomFor(t, bytes); err != nil {
		return Batch{}, err
	}
	t.batches++
	t.bytes += bytes
	l.bytes += bytes
	return Batch{limits: l, tenant: name, bytes: bytes}, nil
}

// End releases what BeginBatch has counted.
func (b Batch) End() {
	l := b.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(b.tenant)
	t.batches--
	t.bytes -= b.bytes
	l.bytes -= b.bytes
}

// BeginItem is BeginSubmit for a submit of a batch, whose bytes BeginBatch has counted.
func (l *Limits) BeginItem(ctx context.Context, name string, bytes int64) (Submit, error) {
	return l.begin(ctx, Submit{limits: l, tenant: name, bytes: bytes, within: true})
}

// submitting returns which other tenants count for the share of t.
func submitting(t *tenant) func(*tenant) bool {
	return func(o *tenant) bool { return o != t && (o.submits > 0 || o.batches > 0) }
}

// roomFor returns why a tenant may not have that many more bytes under way, or nil. l.mu is held.
func (l *Limits) roomFor(t *tenant, bytes int64) error {
	switch {
	case l.bytes+bytes > l.cfg.SubmitBytes:
		return l.refuse(SubmitBytes, code.Overloaded, "submits of %d bytes wait for their ack", l.bytes)
	case l.bytes > 0 && l.aboveShare(l.bytes+bytes, t.bytes+bytes, l.room.size, submitting(t)):
		return l.refuse(FairShare, code.Overloaded, fairShare)
	}
	return nil
}

const fairShare = "many submits wait for their acks, and the tenant uses its fair share of the room"

// BeginSubmit admits a submit of that many bytes, until its End. The error, a frame.Problem, says why it is refused. It
// is cheap, and makes no request while the tenant's count is fresh, so it can be called before a submit is read and
// checked.
func (l *Limits) BeginSubmit(ctx context.Context, name string, bytes int64) (Submit, error) {
	return l.begin(ctx, Submit{limits: l, tenant: name, bytes: bytes})
}

// begin admits the submit s.
func (l *Limits) begin(ctx context.Context, s Submit) (Submit, error) {
	if l.cfg.Jobs > 0 {
		l.recount(ctx, s.tenant)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(s.tenant)
	if l.submits >= l.cfg.Submits {
		return Submit{}, l.refuse(Submits, code.Overloaded, "%d submits wait for their ack", l.submits)
	}
	if !s.within {
		if err := l.roomFor(t, s.bytes); err != nil {
			return Submit{}, err
		}
	}
	switch {
	case l.aboveShare(int64(l.submits), int64(t.submits), int64(l.cfg.Submits), submitting(t)):
		return Submit{}, l.refuse(FairShare, code.Overloaded, fairShare)
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
	l.submits++
	t.bytes += s.counted()
	l.bytes += s.counted()
	return s, nil
}

// End releases what BeginSubmit has counted. made says whether the submit has made a job.
func (s Submit) End(made bool) {
	l := s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(s.tenant)
	t.submits--
	l.submits--
	t.bytes -= s.counted()
	l.bytes -= s.counted()
	if made {
		t.open.Jobs++
	}
}

// counted returns the bytes that are counted for the submit itself.
func (s Submit) counted() int64 {
	if s.within {
		return 0
	}
	return s.bytes
}

// Took reports how long the submit took, from when it was completely read until its answer. The limits adapt to it how
// many bytes may be under way.
func (s Submit) Took(d time.Duration) {
	l := s.limits
	l.mu.Lock()
	defer l.mu.Unlock()
	l.room.learn(time.Now(), d, s.bytes, l.bytes)
}

// Held returns the bytes of all submits that are under way.
func (l *Limits) Held() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytes
}

// Webhook admits a submit that asks for a webhook. The error, a frame.Problem, says why it is refused. The bound keeps
// webhooks for endpoints that do not answer from piling up.
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
	t.open.Webhooks++ // an estimate, until they are counted again
	return nil
}

// Order admits a cancel or retry of a user. The error, a frame.Problem, says why it is refused.
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

// List admits a user's request for a list or a count of jobs. The error, a frame.Problem, says why it is refused.
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

// Ask admits a user's request for the documents of n jobs. The error, a frame.Problem, says why it is refused.
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

// take takes n tokens, but not more than the burst. If there are too few, the error says when there will be enough.
// l.mu is held.
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

// recount counts the tenant's open jobs if the last count is old and no other call counts already. If it fails the last
// count stays.
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
