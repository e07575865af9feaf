// Package limits shares a gateway out among tenants: what each may take, and who is turned
// away first when all is full.
package limits

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Config bounds what tenants take of one gateway. 0 sets no bound.
type Config struct {
	SubmitRate      float64 `name:"tenant-submit-rate" help:"Submits of one tenant per second, with bursts of twice as many; 0 sets no bound." default:"0"`
	Jobs            int64   `name:"tenant-jobs" help:"Jobs of one tenant that have not ended, on all gateways together, to about a second; webhooks have a bound of their own. 0 sets no bound." default:"0"`
	Webhooks        int64   `name:"tenant-webhooks" help:"Webhooks of one tenant that are still to be delivered: with more, submits that ask for one are refused. 0 sets no bound." default:"100000"`
	Sessions        int     `name:"tenant-sessions" help:"Sockets, event streams and requests that wait for their job (Prefer: wait) of one tenant; 0 sets no bound." default:"0"`
	SubjectSessions int     `name:"subject-sessions" help:"Sockets, event streams and requests that wait for their job (Prefer: wait) of one user of a tenant; 0 sets no bound." default:"200"`
	Subscriptions   int     `name:"tenant-subscriptions" help:"Jobs that all sessions of one tenant may watch; 0 sets no bound." default:"0"`
	OrderRate       float64 `name:"order-rate" help:"Cancels and retries of one user per second, with bursts of twice as many; a retry counts as a submit, too. 0 sets no bound." default:"100"`
	AskRate         float64 `name:"ask-rate" help:"Jobs that one user may ask for per second, to watch them by sockets and event streams or to read them by their IDs, with bursts of ten times as many; 0 sets no bound." default:"5000"`
	ListRate        float64 `name:"list-rate" help:"Lists and counts of jobs that one user may ask for per second, with bursts of twice as many; 0 sets no bound." default:"50"`
	Submits         int     `name:"submits" help:"Submits that may wait for their ack at one time." default:"20000"`
	SubmitBytes     int64   `name:"submit-bytes" help:"Bytes of the submits that are being read or wait for their ack, at the most: while submits take long, the gateway lets in as few as Kafka can take." default:"268435456"`
}

// Validate joins all problems.
func (c Config) Validate() error {
	var problems []error
	for name, v := range map[string]float64{
		"tenant-submit-rate": c.SubmitRate, "tenant-jobs": float64(c.Jobs), "tenant-sessions": float64(c.Sessions),
		"subject-sessions": float64(c.SubjectSessions), "tenant-subscriptions": float64(c.Subscriptions),
		"tenant-webhooks": float64(c.Webhooks), "order-rate": c.OrderRate, "ask-rate": c.AskRate, "list-rate": c.ListRate,
	} {
		if !(v >= 0 && v <= 1e12) {
			problems = append(problems, fmt.Errorf("%s must not be negative", name))
		}
	}
	if c.Submits < 1 {
		problems = append(problems, errors.New("submits must be at least 1"))
	}
	if c.SubmitBytes < 1 {
		problems = append(problems, errors.New("submit-bytes must be at least 1"))
	}
	return errors.Join(problems...)
}

// Bound names what turned somebody away, for the metrics.
type Bound string

// The bounds.
const (
	SubmitRate      Bound = "tenant_submit_rate"
	Jobs            Bound = "tenant_jobs"
	Webhooks        Bound = "tenant_webhooks"
	Sessions        Bound = "tenant_sessions"
	SubjectSessions Bound = "subject_sessions"
	Subscriptions   Bound = "tenant_subscriptions"
	OrderRate       Bound = "order_rate"
	AskRate         Bound = "ask_rate"
	ListRate        Bound = "list_rate"
	ListBytes       Bound = "list_bytes" // of pages that wait to be written
	Submits         Bound = "submits"
	SubmitBytes     Bound = "submit_bytes"
	FairShare       Bound = "fair_share"
	FrameRate       Bound = "frame_rate"
	MessageTime     Bound = "message_time" // a message, or a body, that takes too long to come
	Connections     Bound = "connections"
	RequestHead     Bound = "request_head"
	LongLines       Bound = "long_request_lines" // that are on their way

	Strangers        Bound = "strangers"
	AddressStrangers Bound = "address_strangers"

	HandshakeRate Bound = "handshake_rate"
	AllSessions   Bound = "sessions"
)

// All lists every bound.
var All = []Bound{
	SubmitRate, Jobs, Webhooks, Sessions, SubjectSessions, Subscriptions, OrderRate, AskRate, ListRate,
	ListBytes, Submits, SubmitBytes, FairShare, FrameRate, MessageTime, Connections, RequestHead, LongLines,
	Strangers, AddressStrangers, HandshakeRate, AllSessions,
}

const (
	crowded    = 0.9 // above this part of a capacity a tenant above its share is turned away
	countAge   = time.Second
	idleAfter  = time.Minute // a tenant of whom nothing is known is forgotten after this
	burst      = 2           // seconds of a rate
	askBurst   = 10          // seconds of the rate at which jobs are asked for: clients that come back ask for all
	minForRate = 1
)

// Limits counts what tenants have taken. It may be used from any goroutine.
type Limits struct {
	cfg      Config
	capacity int // of sessions
	count    func(ctx context.Context, tenant string) (Open, error)
	turned   func(Bound)

	mu       sync.Mutex // guards all below
	tenants  map[string]*tenant
	sessions int
	submits  int
	bytes    int64 // of submits
	room     room  // for them
	swept    time.Time
}

// Open counts what has not ended of a tenant.
type Open struct {
	Jobs     int64 // its own
	Webhooks int64 // jobs that deliver its webhooks
}

type tenant struct {
	seen          time.Time
	submitRate    *rate.Limiter
	sessions      int
	subjects      map[string]*subject
	subscriptions int
	submits       int
	bytes         int64 // of submits

	open     Open // as last counted, and what was acked since
	counted  time.Time
	counting bool
}

// subject is one user of a tenant.
type subject struct {
	sessions int
	orders   *rate.Limiter // nil before the first, as are asks and lists
	lists    *rate.Limiter
	asks     *rate.Limiter
}

// idle reports whether forgetting the subject changes nothing.
func (s *subject) idle() bool {
	full := func(l *rate.Limiter) bool { return l == nil || l.Tokens() >= float64(l.Burst()) }
	return s.sessions == 0 && full(s.orders) && full(s.asks) && full(s.lists)
}

func (t *tenant) subject(name string) *subject {
	s := t.subjects[name]
	if s == nil {
		s = &subject{}
		t.subjects[name] = s
	}
	return s
}

// New returns limits for a gateway of so many sessions. count says what has not ended of a
// tenant; turned is called with the bound each time that somebody is turned away.
func New(cfg Config, sessions int, count func(context.Context, string) (Open, error), turned func(Bound)) *Limits {
	return &Limits{
		cfg: cfg, capacity: sessions, count: count, turned: turned, tenants: map[string]*tenant{},
		room: newRoom(cfg.SubmitBytes),
	}
}

// of returns what is known of a tenant. l.mu is held.
func (l *Limits) of(name string) *tenant {
	now := time.Now()
	if now.Sub(l.swept) > idleAfter {
		l.swept = now
		for name, t := range l.tenants {
			maps.DeleteFunc(t.subjects, func(_ string, s *subject) bool { return s.idle() })
			if len(t.subjects) == 0 && t.sessions == 0 && t.submits == 0 && t.subscriptions == 0 && now.Sub(t.seen) > idleAfter {
				delete(l.tenants, name)
			}
		}
	}
	t := l.tenants[name]
	if t == nil {
		t = &tenant{subjects: map[string]*subject{}}
		if r := l.cfg.SubmitRate; r > 0 {
			t.submitRate = newRate(r, burst)
		}
		l.tenants[name] = t
	}
	t.seen = now
	return t
}

// aboveShare reports whether a capacity is nearly used up, and a tenant has its share of it.
func (l *Limits) aboveShare(all, own, capacity int64, active func(*tenant) bool) bool {
	if float64(all) < crowded*float64(capacity) {
		return false
	}
	sharers := 0
	for _, t := range l.tenants {
		if active(t) {
			sharers++
		}
	}
	return own >= max(1, capacity/int64(sharers+1))
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
	user := t.subject(subject)
	switch {
	case l.cfg.Sessions > 0 && t.sessions >= l.cfg.Sessions:
		return l.refuse(Sessions, code.LimitExceeded, "the tenant has %d sessions open", t.sessions)
	case l.cfg.SubjectSessions > 0 && subject != "" && user.sessions >= l.cfg.SubjectSessions:
		return l.refuse(SubjectSessions, code.LimitExceeded, "the user has %d sessions open", user.sessions)
	case l.sessions >= l.capacity:
		return l.refuse(AllSessions, code.Overloaded, "no more sessions are taken now")
	case l.aboveShare(int64(l.sessions), int64(t.sessions), int64(l.capacity), func(o *tenant) bool {
		return o != t && o.sessions > 0
	}):
		return l.refuse(FairShare, code.Overloaded, "there is hardly any room, and the tenant has its share of it")
	}
	t.sessions++
	user.sessions++
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
	user := t.subject(subject)
	user.sessions--
	if user.idle() {
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

// Tenants is how many tenants something is known of.
func (l *Limits) Tenants() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tenants)
}
