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

// Config bounds what tenants and users may use of one gateway. 0 means no bound.
type Config struct {
	SubmitRate      float64 `name:"tenant-submit-rate" help:"Submits of one tenant per second, with bursts of twice as many. 0 means no bound." default:"0"`
	Jobs            int64   `name:"tenant-jobs" help:"Jobs of one tenant that have not ended, counted over all gateways about once a second. Webhooks are bounded by tenant-webhooks. 0 means no bound." default:"0"`
	Webhooks        int64   `name:"tenant-webhooks" help:"Webhooks of one tenant that are still to be delivered. Above it, submits with a callback are refused. 0 means no bound." default:"100000"`
	Sessions        int     `name:"tenant-sessions" help:"Sockets, event streams and requests that wait for their job (Prefer: wait) of one tenant. 0 means no bound." default:"0"`
	SubjectSessions int     `name:"subject-sessions" help:"Sockets, event streams and requests that wait for their job (Prefer: wait) of one user. 0 means no bound." default:"200"`
	Subscriptions   int     `name:"tenant-subscriptions" help:"Jobs that all sessions of one tenant together may watch. 0 means no bound." default:"0"`
	TenantLists     int     `name:"tenant-lists" help:"Lists that all sessions of one tenant together may watch (watchList). 0 means no bound." default:"200"`
	SubjectLists    int     `name:"subject-lists" help:"Lists that all sessions of one user together may watch (watchList). 0 means no bound." default:"20"`
	OrderRate       float64 `name:"order-rate" help:"Cancels and retries of one user per second, with bursts of twice as many. A retry also counts as a submit. 0 means no bound." default:"100"`
	AskRate         float64 `name:"ask-rate" help:"Jobs that one user may ask for per second, by watches on sockets and event streams and by reads of single jobs, with bursts of ten times as many. 0 means no bound." default:"5000"`
	ListRate        float64 `name:"list-rate" help:"Lists and counts of jobs that one user may ask for per second, and lists that it begins to watch, with bursts of twice as many. 0 means no bound." default:"50"`
	Submits         int     `name:"submits" help:"Submits that may wait for their acks at the same time." default:"20000"`
	SubmitBytes     int64   `name:"submit-bytes" help:"Most bytes of the submits that are being read or wait for their acks. While submits are slow the gateway admits fewer, as many as Kafka can take." default:"268435456"`
}

// Validate reports every problem of the configuration.
func (c Config) Validate() error {
	var problems []error
	for name, v := range map[string]float64{
		"tenant-submit-rate": c.SubmitRate, "tenant-jobs": float64(c.Jobs), "tenant-sessions": float64(c.Sessions),
		"subject-sessions": float64(c.SubjectSessions), "tenant-subscriptions": float64(c.Subscriptions),
		"tenant-webhooks": float64(c.Webhooks), "order-rate": c.OrderRate, "ask-rate": c.AskRate, "list-rate": c.ListRate,
		"tenant-lists": float64(c.TenantLists), "subject-lists": float64(c.SubjectLists),
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

// Bound names the limit for which a request was refused; it is a label of a metric.
type Bound string

// The bounds.
const (
	SubmitRate      Bound = "tenant_submit_rate"
	Jobs            Bound = "tenant_jobs"
	Webhooks        Bound = "tenant_webhooks"
	Sessions        Bound = "tenant_sessions"
	SubjectSessions Bound = "subject_sessions"
	Subscriptions   Bound = "tenant_subscriptions"
	TenantLists     Bound = "tenant_lists"
	SubjectLists    Bound = "subject_lists"
	OrderRate       Bound = "order_rate"
	AskRate         Bound = "ask_rate"
	ListRate        Bound = "list_rate"
	ListBytes       Bound = "list_bytes" // bytes of pages that wait to be written
	Submits         Bound = "submits"
	SubmitBytes     Bound = "submit_bytes"
	FairShare       Bound = "fair_share"
	FrameRate       Bound = "frame_rate"
	MessageTime     Bound = "message_time" // a message or a body that takes too long to arrive
	Connections     Bound = "connections"
	RequestHead     Bound = "request_head"
	LongLines       Bound = "long_request_lines" // requests with long lines that are being read

	Strangers        Bound = "strangers"
	AddressStrangers Bound = "address_strangers"

	HandshakeRate Bound = "handshake_rate"
	Logins        Bound = "console_logins"
	AllSessions   Bound = "sessions"
)

// All lists every bound.
var All = []Bound{
	SubmitRate, Jobs, Webhooks, Sessions, SubjectSessions, Subscriptions, TenantLists, SubjectLists, OrderRate, AskRate,
	ListRate,
	ListBytes, Submits, SubmitBytes, FairShare, FrameRate, MessageTime, Connections, RequestHead, LongLines,
	Strangers, AddressStrangers, HandshakeRate, AllSessions, Logins,
}

const (
	crowded    = 0.9         // above this part of a capacity, tenants above their share are refused
	countAge   = time.Second // age after which a tenant's jobs are counted again
	idleAfter  = time.Minute // after this time a tenant without sessions, submits and so on is forgotten
	burst      = 2           // a rate's burst, in seconds of the rate
	askBurst   = 10          // the same for AskRate: a client that reconnects asks for all its jobs at once
	minForRate = 1           // the smallest burst
)

// Limits counts what tenants use and refuses what is above their bounds. It is safe for concurrent use.
type Limits struct {
	cfg      Config
	capacity int                                                    // of sessions
	count    func(ctx context.Context, tenant string) (Open, error) // counts a tenant's open jobs
	turned   func(Bound)                                            // is called for each refusal

	mu       sync.Mutex // guards the fields below
	tenants  map[string]*tenant
	sessions int
	submits  int
	bytes    int64 // of submits
	room     room  // how many bytes may be under way
	swept    time.Time
}

// Open counts the jobs of a tenant that have not ended.
type Open struct {
	Jobs     int64 // its own jobs
	Webhooks int64 // jobs that deliver its webhooks
}

// tenant is what one tenant uses.
type tenant struct {
	seen          time.Time // when it was last looked up
	submitRate    *rate.Limiter
	sessions      int
	subjects      map[string]*subject
	subscriptions int
	lists         int // that are watched
	submits       int
	batches       int
	bytes         int64 // of submits and batches

	open     Open // as last counted, plus the jobs that were acked since
	counted  time.Time
	counting bool // a count is under way
}

// subject is one user of a tenant.
type subject struct {
	sessions int
	watched  int           // lists
	orders   *rate.Limiter // nil before its first use, like lists and asks
	lists    *rate.Limiter
	asks     *rate.Limiter
}

// idle reports whether the subject can be forgotten: it has no sessions, and its rates are not in use.
func (s *subject) idle() bool {
	full := func(l *rate.Limiter) bool { return l == nil || l.Tokens() >= float64(l.Burst()) }
	return s.sessions == 0 && s.watched == 0 && full(s.orders) && full(s.asks) && full(s.lists)
}

func (t *tenant) subject(name string) *subject {
	s := t.subjects[name]
	if s == nil {
		s = &subject{}
		t.subjects[name] = s
	}
	return s
}

// New returns limits for a gateway that holds at most that many sessions. slack is the time by which submits may differ
// while Kafka is not overloaded. count counts the jobs of a tenant that have not ended; turned is called with the bound
// for each request that is refused.
func New(
	cfg Config, sessions int, slack time.Duration, count func(context.Context, string) (Open, error), turned func(Bound),
) *Limits {
	return &Limits{
		cfg: cfg, capacity: sessions, count: count, turned: turned, tenants: map[string]*tenant{},
		room: newRoom(cfg.SubmitBytes, slack),
	}
}

// of returns the record of a tenant, a new one if there is none, and now and then forgets idle tenants. l.mu is held.
func (l *Limits) of(name string) *tenant {
	now := time.Now()
	if now.Sub(l.swept) > idleAfter {
		l.swept = now
		for name, t := range l.tenants {
			maps.DeleteFunc(t.subjects, func(_ string, s *subject) bool { return s.idle() })
			if len(t.subjects) == 0 && t.sessions == 0 && t.submits+t.batches == 0 && t.subscriptions == 0 &&
				now.Sub(t.seen) > idleAfter {
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

// aboveShare reports whether a capacity is nearly used up and a tenant uses its fair share of it or more. all is the
// use by all tenants and own that by this one; active reports which other tenants count for the share.
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

// OpenSession counts a session until CloseSession. The error, a frame.Problem, says why it is refused.
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
		return l.refuse(AllSessions, code.Overloaded, "the gateway has no room for another session now")
	case l.aboveShare(int64(l.sessions), int64(t.sessions), int64(l.capacity), func(o *tenant) bool {
		return o != t && o.sessions > 0
	}):
		return l.refuse(FairShare, code.Overloaded, "the gateway is nearly full, and the tenant uses its fair share of it")
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

// Watch adds n, which may be negative, to the watched jobs of a tenant. It reports false if there would be too many.
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

// Tenants returns how many tenants are remembered.
func (l *Limits) Tenants() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tenants)
}
