// Package limits shares a gateway out among tenants: what each may take, and who is turned
// away first when all is full.
package limits

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Config bounds what tenants take of one gateway. 0 sets no bound.
type Config struct {
	SubmitRate      float64 `name:"tenant-submit-rate" help:"Submits of one tenant per second, with bursts of twice as many; 0 sets no bound." default:"0"`
	Jobs            int64   `name:"tenant-jobs" help:"Jobs of one tenant that have not ended, on all gateways together, to about a second; 0 sets no bound." default:"0"`
	Sessions        int     `name:"tenant-sessions" help:"Sockets and event streams of one tenant; 0 sets no bound." default:"0"`
	SubjectSessions int     `name:"subject-sessions" help:"Sockets and event streams of one user of a tenant; 0 sets no bound." default:"200"`
	Subscriptions   int     `name:"tenant-subscriptions" help:"Jobs that all sessions of one tenant may watch; 0 sets no bound." default:"0"`
	Submits         int     `name:"submits" help:"Submits that may wait for their ack at one time." default:"20000"`
}

// DefaultConfig is what the flags say by default.
func DefaultConfig() Config { return Config{SubjectSessions: 200, Submits: 20_000} }

// Validate joins all problems.
func (c Config) Validate() error {
	var problems []error
	for name, v := range map[string]float64{
		"tenant-submit-rate": c.SubmitRate, "tenant-jobs": float64(c.Jobs), "tenant-sessions": float64(c.Sessions),
		"subject-sessions": float64(c.SubjectSessions), "tenant-subscriptions": float64(c.Subscriptions),
	} {
		if !(v >= 0 && v <= 1e12) {
			problems = append(problems, fmt.Errorf("%s must not be negative", name))
		}
	}
	if c.Submits < 1 {
		problems = append(problems, errors.New("submits must be at least 1"))
	}
	return errors.Join(problems...)
}

// Bound names what turned somebody away, for the metrics.
type Bound string

// The bounds.
const (
	SubmitRate      Bound = "tenant_submit_rate"
	Jobs            Bound = "tenant_jobs"
	Sessions        Bound = "tenant_sessions"
	SubjectSessions Bound = "subject_sessions"
	Subscriptions   Bound = "tenant_subscriptions"
	Submits         Bound = "submits"
	FairShare       Bound = "fair_share"
	FrameRate       Bound = "frame_rate"
	MessageTime     Bound = "message_time" // a message, or a body, that takes too long to come
	Connections     Bound = "connections"
	HandshakeRate   Bound = "handshake_rate"
	AllSessions     Bound = "sessions"
)

// All lists every bound.
var All = []Bound{SubmitRate, Jobs, Sessions, SubjectSessions, Subscriptions, Submits, FairShare, FrameRate, MessageTime, Connections, HandshakeRate, AllSessions}

const (
	crowded    = 0.9 // above this part of a capacity a tenant above its share is turned away
	countAge   = time.Second
	idleAfter  = time.Minute // a tenant of whom nothing is known is forgotten after this
	burst      = 2           // seconds of a rate
	minForRate = 1
)

// Limits counts what tenants have taken. It may be used from any goroutine.
type Limits struct {
	cfg      Config
	capacity int // of sessions
	count    func(ctx context.Context, tenant string) (int64, error)
	turned   func(Bound)

	mu       sync.Mutex // guards all below
	tenants  map[string]*tenant
	sessions int
	submits  int
	swept    time.Time
}

type tenant struct {
	seen          time.Time
	submitRate    *rate.Limiter
	sessions      int
	subjects      map[string]int
	subscriptions int
	submits       int

	jobs     int64 // not ended, as last counted, and those that were acked since
	counted  time.Time
	counting bool
}

// New returns limits for a gateway of so many sessions. count says how many jobs of a tenant
// have not ended; turned hears of whoever is turned away.
func New(cfg Config, sessions int, count func(context.Context, string) (int64, error), turned func(Bound)) *Limits {
	return &Limits{cfg: cfg, capacity: sessions, count: count, turned: turned, tenants: map[string]*tenant{}}
}

// of returns what is known of a tenant. l.mu is held.
func (l *Limits) of(name string) *tenant {
	now := time.Now()
	if now.Sub(l.swept) > idleAfter {
		l.swept = now
		for name, t := range l.tenants {
			if t.sessions == 0 && t.submits == 0 && t.subscriptions == 0 && now.Sub(t.seen) > idleAfter {
				delete(l.tenants, name)
			}
		}
	}
	t := l.tenants[name]
	if t == nil {
		t = &tenant{subjects: map[string]int{}}
		if r := l.cfg.SubmitRate; r > 0 {
			t.submitRate = rate.NewLimiter(rate.Limit(r), max(minForRate, int(burst*r)))
		}
		l.tenants[name] = t
	}
	t.seen = now
	return t
}

// aboveShare reports whether a capacity is nearly used up, and a tenant has its share of it.
func (l *Limits) aboveShare(all, own, capacity int, active func(*tenant) bool) bool {
	if float64(all) < crowded*float64(capacity) {
		return false
	}
	sharers := 0
	for _, t := range l.tenants {
		if active(t) {
			sharers++
		}
	}
	return own >= max(1, capacity/max(1, sharers+1))
}

func (l *Limits) refuse(b Bound, c code.Code, detail string, args ...any) error {
	l.turned(b)
	p := frame.NewProblem(c, fmt.Sprintf(detail, args...))
	if p.Retryable {
		p.RetryAfter = 1
	}
	return p
}

// OpenSession counts a session, until CloseSession, or says why it is turned away.
func (l *Limits) OpenSession(name, subject string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	switch {
	case l.cfg.Sessions > 0 && t.sessions >= l.cfg.Sessions:
		return l.refuse(Sessions, code.LimitExceeded, "the tenant has %d sessions open", t.sessions)
	case l.cfg.SubjectSessions > 0 && subject != "" && t.subjects[subject] >= l.cfg.SubjectSessions:
		return l.refuse(SubjectSessions, code.LimitExceeded, "the user has %d sessions open", t.subjects[subject])
	case l.sessions >= l.capacity:
		return l.refuse(AllSessions, code.Overloaded, "no more sessions are taken now")
	case l.aboveShare(l.sessions, t.sessions, l.capacity, func(o *tenant) bool { return o != t && o.sessions > 0 }):
		return l.refuse(FairShare, code.Overloaded, "there is hardly any room, and the tenant has its share of it")
	}
	t.sessions++
	t.subjects[subject]++
	l.sessions++
	return nil
}

// CloseSession undoes OpenSession.
func (l *Limits) CloseSession(name, subject string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	t.sessions--
	l.sessions--
	if t.subjects[subject]--; t.subjects[subject] <= 0 {
		delete(t.subjects, subject)
	}
}

// Watch counts n more watched jobs of a tenant, or fewer; false when there are too many.
func (l *Limits) Watch(name string, n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	if n > 0 && l.cfg.Subscriptions > 0 && t.subscriptions+n > l.cfg.Subscriptions {
		l.turned(Subscriptions)
		return false
	}
	t.subscriptions += n
	return true
}

// BeginSubmit counts a submit under way, until EndSubmit, or says why it is turned away.
func (l *Limits) BeginSubmit(ctx context.Context, name string) error {
	if l.cfg.Jobs > 0 {
		l.recount(ctx, name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	switch {
	case l.submits >= l.cfg.Submits:
		return l.refuse(Submits, code.Overloaded, "%d submits wait for their ack", l.submits)
	case l.aboveShare(l.submits, t.submits, l.cfg.Submits, func(o *tenant) bool { return o != t && o.submits > 0 }):
		return l.refuse(FairShare, code.Overloaded, "many submits wait for their ack, and the tenant has its share of them")
	case l.cfg.Jobs > 0 && t.jobs+int64(t.submits) >= l.cfg.Jobs:
		return l.refuse(Jobs, code.LimitExceeded, "%d jobs of the tenant have not ended", t.jobs)
	}
	if t.submitRate != nil {
		r := t.submitRate.Reserve()
		if wait := r.Delay(); wait > 0 {
			r.Cancel()
			l.turned(SubmitRate)
			p := frame.NewProblem(code.RateLimited, fmt.Sprintf("the tenant may submit %g jobs per second", l.cfg.SubmitRate))
			p.RetryAfter = wait.Seconds()
			return p
		}
	}
	t.submits++
	l.submits++
	return nil
}

// EndSubmit ends what BeginSubmit began; made says whether there is one more job now.
func (l *Limits) EndSubmit(name string, made bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.of(name)
	t.submits--
	l.submits--
	if made {
		t.jobs++
	}
}

// recount asks how many jobs of the tenant have not ended, if the last answer is old and
// nobody asks already. When there is no answer the last one stands.
func (l *Limits) recount(ctx context.Context, name string) {
	l.mu.Lock()
	t := l.of(name)
	if t.counting || time.Since(t.counted) < countAge {
		l.mu.Unlock()
		return
	}
	t.counting = true
	l.mu.Unlock()
	n, err := l.count(ctx, name)
	l.mu.Lock()
	defer l.mu.Unlock()
	t.counting, t.counted = false, time.Now()
	if err == nil {
		t.jobs = n
	}
}

// Tenants is how many tenants something is known of.
func (l *Limits) Tenants() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tenants)
}
