package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/mine"
	"github.com/ackwire/ackwire/gateway/origin"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of the start, and of a count of a tenant's jobs.
const (
	startRetry   = 500 * time.Millisecond
	countTimeout = 500 * time.Millisecond
)

// Gateway is one gateway process.
type Gateway struct {
	// Set by New, then only read.
	cfg       Config
	env       service.Env
	log       *slog.Logger
	names     topic.Names
	types     jobtypes.Set
	origins   origin.Set
	idKeys    intake.IDKeys
	verifier  *auth.Verifier
	metrics   *metrics
	taken     *intake.Metrics
	tracer    trace.Tracer // nil if no spans are made
	kafkaUp   *intake.Health
	keeper    *kafka.Keeper
	hub       *hub.Hub
	mine      *mine.Index
	waiting   *budget.Budget // for the bytes that wait to be written to clients
	conns     *conns.Conns
	pace      *pace
	peers     *peers.Client
	pair      *certs.Pair   // the listener's certificate; nil without TLS
	streaming atomic.Int64  // requests of HTTP/2 that are being served
	leaving   chan struct{} // closed when the gateway is told to stop
	drain     chan struct{} // closed when the drain begins
	drainOnce sync.Once

	// Set by Run before it serves, then only read.
	limits   *limits.Limits
	intake   *intake.Intake
	sessions session.Config
	kafka    *kgo.Client
	up       *upstream.Pair
	lanes    []*lanes     // of the present system, and of the former one if there is one
	blobs    *blobs.Store // nil if none is configured

	streams atomic.Pointer[upstream.Pair] // for the metrics, which may be read before Run
	addr    atomic.Pointer[string]

	mu     sync.Mutex                      // guards the fields below
	open   map[*session.Session]int        // open sessions, and the slot of the wheel that each is in
	wheel  []map[*session.Session]struct{} // a timing wheel of pings: one slot per second is pinged
	hand   int                             // the slot whose turn it is
	closed bool
	served sync.WaitGroup
}

// New returns a gateway. It reads the configured files and does no other I/O.
func New(cfg Config, env service.Env) (*Gateway, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	types, err := jobtypes.Load(cfg.JobTypes)
	if err != nil {
		return nil, err
	}
	cfg.SubmitTimeout = cfg.submitTimeout()
	bounds := cfg.Kafka.Bounds()
	allowed, err := origin.Parse(cfg.AllowedOrigins)
	if err != nil {
		return nil, err
	}
	g := &Gateway{
		cfg:     cfg,
		origins: allowed,
		env:     env.With("service", "gateway"),
		names:   topic.Names{Prefix: cfg.TopicPrefix},
		types:   types,
		kafkaUp: intake.NewHealth(bounds),
		taken:   intake.NewMetrics(env.Metrics),
		tracer:  tracing.Tracer(env.Traces, "gateway"),
		hub:     hub.New(bounds.Delivery),
		mine:    mine.New(bounds),
		leaving: make(chan struct{}),
		drain:   make(chan struct{}),
		open:    map[*session.Session]int{},
		wheel:   make([]map[*session.Session]struct{}, max(1, int(cfg.PingInterval/time.Second))),
	}
	for i := range g.wheel {
		g.wheel[i] = map[*session.Session]struct{}{}
	}
	g.log = g.env.Log
	g.keeper = kafka.NewKeeper(cfg.Topics, "gateway", g.env)
	for _, a := range g.names.ACLs(topic.RoleGateway, nil) {
		g.keeper.Need(kafka.Permission(a))
	}
	if g.tracer != nil {
		g.hub.Pushed, g.mine.Pushed = g.pushed, g.pushed
	}
	provider := &http.Client{Transport: &http.Transport{DialContext: env.Dial}}
	g.verifier, err = auth.New(cfg.Auth, certs.Env{Log: g.log, Metrics: env.Metrics}, provider, func(err error) {
		g.log.Warn("the identity provider's keys are not read", "err", err)
	})
	if err != nil {
		return nil, err
	}
	if g.idKeys, err = intake.OpenIDKeys(certs.Env{Log: g.log, Metrics: env.Metrics}, cfg.IDKeyFile); err != nil {
		return nil, err
	}
	if g.peers, err = cfg.Internal.Client(certs.Env{Log: g.log, Metrics: env.Metrics}); err != nil {
		return nil, err
	}
	if cfg.Cert != "" {
		g.pair, err = certs.OpenPair(certs.Env{Log: g.log, Metrics: env.Metrics}, "tls-cert", cfg.Cert, cfg.Key)
		if err != nil {
			return nil, err
		}
	}
	g.metrics = newMetrics(env.Metrics, g.watched, func() int {
		if up := g.streams.Load(); up != nil {
			return up.Streams()
		}
		return 0
	})
	g.conns = conns.New(conns.Config{
		Connections: cfg.Connections, Strangers: cfg.Strangers, AddressStrangers: cfg.AddressStrangers,
		PingInterval: cfg.PingInterval, TurnedAway: g.metrics.turnedAway, Refused: g.metrics.refused,
		Log: g.log, Metrics: env.Metrics,
	})
	g.pace = newPace(cfg.HandshakeRate, g.metrics.turnedAway, g.drain)
	g.waiting = cfg.Waiting.budget()
	g.metrics.waiting(g.waiting.Used)
	return g, nil
}

// build makes those parts that need Kafka, the trackers or the blob store. g.kafka, g.up and g.blobs are set before.
func (g *Gateway) build() {
	cfg := g.cfg
	g.limits = limits.New(cfg.Limits, cfg.Sessions, cfg.Kafka.Bounds().Slack, g.openJobs, g.metrics.turnedAway)
	g.intake = intake.New(intake.Config{
		Names: g.names, Types: g.types, SubmitTimeout: cfg.SubmitTimeout, InlinePayload: cfg.InlinePayload,
		Audit: cfg.Audit != AuditOff, TraceClients: cfg.TraceClients,
		Kafka: g.kafka, Trackers: g.up, Blobs: g.blobs, Health: g.kafkaUp, IDKeys: g.idKeys, Verifier: g.verifier,
		Limits: g.limits, Metrics: g.taken, Tracer: g.tracer, Log: g.log,
	})
	g.sessions = session.Config{
		Load: g.load, Budget: g.waiting, WaitingBytes: cfg.Waiting.Session,
		Verifier: g.verifier, Hub: g.hub, Mine: g.mine, Jobs: g.intake, Limits: g.limits, Metrics: g.metrics, Log: g.log,
		PingInterval: cfg.PingInterval, FirstFrame: cfg.FirstFrame, FrameBytes: cfg.FrameBytes,
		Subscriptions: cfg.Subscriptions, InFlightSubmits: cfg.InFlightSubmits, FrameRate: cfg.FrameRate,
	}
	if cfg.Compression.On {
		g.sessions.Compression = &session.Compression{Threshold: cfg.Compression.Threshold, Sockets: cfg.Compression.Sockets}
	}
}

// Ready returns why the gateway is not ready for clients, or nil if it is.
func (g *Gateway) Ready() error {
	select {
	case <-g.leaving:
		return errors.New("draining")
	case <-g.drain:
		return errors.New("draining")
	default:
		return errors.Join(g.kafkaUp.Ready(), g.keeper.Err(), g.trackersUp(), g.verifier.Ready())
	}
}

// Addr returns the address at which the gateway listens; empty before it does.
func (g *Gateway) Addr() string {
	if a := g.addr.Load(); a != nil {
		return *a
	}
	return ""
}

// Run serves until ctx ends. After that it reports that it is not ready, and goes on to serve for DrainWait. Then it
// drains: it accepts no new sockets, asks the open ones to reconnect (goaway), answers the submits in flight, writes
// what waits, and closes sockets with 1012. It returns when all its connections and goroutines have ended.
func (g *Gateway) Run(ctx context.Context) error {
	l, err := g.env.Listen(ctx, "tcp", g.cfg.Listen)
	if err != nil {
		return fmt.Errorf("gateway listener: %w", err)
	}
	addr := l.Addr().String()
	g.addr.Store(&addr)
	g.kafka, err = g.cfg.Kafka.NewClient(g.env, "ackwire-gateway")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer g.kafka.Close()
	if g.cfg.Blobs.URL != "" {
		if g.blobs, err = blobs.Open(ctx, g.cfg.Blobs.URL); err != nil {
			return errors.Join(err, l.Close())
		}
		defer func() { _ = g.blobs.Close() }()
	}
	ask := g.cfg.Kafka.Bounds().Ask
	g.lanes = []*lanes{newLanes(g.names, g.kafka, ask)}
	var former *topic.Names
	if g.cfg.FormerPrefix != "" {
		former = &topic.Names{Prefix: g.cfg.FormerPrefix}
		g.lanes = append(g.lanes, newLanes(*former, g.kafka, ask))
	}
	g.up = upstream.NewPair(upstream.Config{
		Names: g.names, Kafka: g.kafka, Dial: g.env.Dial, Peers: g.peers, Watcher: watchers{g.hub, g.mine}, Log: g.log,
		Bounds: g.cfg.Kafka.Bounds(),
	}, former)
	g.hub.Attach(g.up)
	g.mine.Attach(g.up)
	g.build()
	g.streams.Store(g.up)

	// The drain needs this context, which must outlive ctx.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	parts := service.NewGroup(work)
	parts.Go("upstream", g.up.Run)
	parts.Go("gaps", g.mine.Run)
	parts.Go("health", func(ctx context.Context) error { return g.kafkaUp.Watch(ctx, g.kafka) })
	parts.Go("pings", g.pings)
	parts.Go("keys", g.verifier.Run)
	start, stopStart := context.WithCancel(ctx)
	var starting sync.WaitGroup
	starting.Go(func() {
		if g.start(start); start.Err() == nil {
			g.keeper.Run(start, g.kafka)
		}
	})

	// Sockets and HTTP requests drain at the same time.
	var draining sync.WaitGroup
	serving, stopServing := context.WithCancel(work)
	defer stopServing()
	draining.Go(func() {
		select {
		case <-ctx.Done():
		case <-g.drain: // serving has failed
			return
		}
		close(g.leaving)
		select {
		case <-time.After(g.cfg.DrainWait):
		case <-g.drain:
		}
		stopServing()
	})
	draining.Go(func() {
		<-g.drain
		g.closeSessions()
	})

	g.log.Info("gateway serves", "address", addr)
	server := g.conns.Server(g.handler())
	server.ErrorLog = slog.NewLogLogger(g.log.Handler(), slog.LevelDebug)
	server.BaseContext = func(net.Listener) context.Context { return work }
	l = &drainOnClose{Listener: g.conns.Listen(l, g.pair), drain: g.beginDrain}
	err = service.ServeHTTPUntil(serving, server, l, g.cfg.SubmitTimeout+settleMore)
	g.beginDrain() // also when serving failed
	stopStart()
	starting.Wait()
	draining.Wait()
	stop()
	return errors.Join(err, parts.Wait())
}

// watched returns the number of jobs that are watched one by one, and of all watches.
func (g *Gateway) watched() (jobs, subscriptions int) {
	jobs, subscriptions = g.hub.Size()
	_, subjects := g.mine.Size()
	return jobs, subscriptions + subjects
}

// watchers passes on what the trackers' watch streams bring: to the hub and to the index of subjects.
type watchers struct {
	*hub.Hub
	mine *mine.Index
}

// Update implements upstream.Watcher.
func (w watchers) Update(j *trackerpb.Job) {
	w.mine.Update(j)
	w.Hub.Update(j)
}

// Covered implements upstream.Watcher.
func (w watchers) Covered(stream uint64, c *trackerpb.Coverage) { w.mine.Covered(stream, c) }

// Uncovered implements upstream.Watcher.
func (w watchers) Uncovered(stream uint64) { w.mine.Uncovered(stream) }

// start makes missing topics and verifies all. Until that is done submits are refused.
func (g *Gateway) start(ctx context.Context) {
	said := ""
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, g.cfg.Kafka.Bounds().Delivery)
		err := g.keeper.Ensure(try, g.kafka, g.topics()...)
		cancel()
		if err == nil {
			g.kafkaUp.Up()
			return
		}
		err = kafka.Hint(err)
		g.kafkaUp.Down(fmt.Errorf("starting, Kafka is not usable yet: %w", err))
		if why := err.Error(); why != said {
			g.log.Warn("Kafka is not usable yet", "err", err)
			said = why
		}
		pause.For(ctx, startRetry)
	}
}

// admit opens a session for a request. The error is a frame.Problem if the session is refused, and any other error if
// the connection broke.
func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, identity *auth.Identity) error {
	g.mu.Lock()
	full := g.closed || len(g.open) >= g.cfg.Sessions
	g.mu.Unlock()
	if full {
		g.metrics.turnedAway(limits.AllSessions)
		return frame.NewProblem(code.Overloaded, "no more sockets are taken now")
	}
	if identity != nil {
		if err := g.limits.OpenSession(identity.Tenant, identity.Account()); err != nil {
			return err
		}
	}
	addr := conns.AddrOf(r.Context())
	s, err := session.Accept(w, r, uuid.NewString(), &g.sessions, identity)
	if err != nil {
		if identity != nil {
			g.limits.CloseSession(identity.Tenant, identity.Account())
		}
		g.log.Debug("handshake failed", "err", err)
		return noHandshake(err)
	}
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		if s.Discard(); identity != nil {
			g.limits.CloseSession(identity.Tenant, identity.Account())
		}
		return nil
	}
	slot := rand.IntN(len(g.wheel))
	g.open[s] = slot
	g.wheel[slot][s] = struct{}{}
	g.served.Add(1)
	g.mu.Unlock()
	g.metrics.sessions.Inc()
	var waiting *conns.Stranger
	if identity == nil {
		waiting = g.conns.Enter(addr, func() { s.Close(code.CloseTryAgainLater) })
		if waiting == nil {
			s.Close(code.CloseTryAgainLater)
		}
		s.Proved = func() { g.conns.Leave(waiting) }
	}
	// The session runs in goroutines of its own: the handler's has a large stack, and buffers of net/http.
	s.Start(func() {
		defer g.served.Done()
		g.conns.Leave(waiting)
		g.mu.Lock()
		delete(g.wheel[slot], s)
		delete(g.open, s)
		g.mu.Unlock()
		g.metrics.sessions.Dec()
		g.metrics.closed(s.Closed())
	})
	return nil
}

// openJobs returns the number of a tenant's jobs that have not ended.
func (g *Gateway) openJobs(ctx context.Context, tenant string) (open limits.Open, err error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	counted, err := g.up.Stats(ctx, tenant, nil)
	if err != nil {
		return open, err
	}
	for _, c := range counted.Counts {
		switch {
		case job.State(c.State).Terminal():
		case c.Type == topic.WebhookType:
			open.Webhooks += c.Jobs
		default:
			open.Jobs += c.Jobs
		}
	}
	return open, nil
}

// pings turns the timing wheel: each second it pings the sessions of one slot, so each session once per interval.
func (g *Gateway) pings(ctx context.Context) error {
	tick := time.NewTicker(g.cfg.PingInterval / time.Duration(len(g.wheel)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		g.hub.Sweep()
		g.mine.Sweep()
		g.mu.Lock()
		g.hand = (g.hand + 1) % len(g.wheel)
		due := make([]*session.Session, 0, len(g.wheel[g.hand]))
		for s := range g.wheel[g.hand] {
			due = append(due, s)
		}
		g.mu.Unlock()
		for _, s := range due {
			s.Ping()
		}
	}
}

// trackersUp returns why the trackers cannot be reached from this gateway, or nil.
func (g *Gateway) trackersUp() error {
	up := g.streams.Load()
	if up == nil {
		return nil
	}
	return up.Ready()
}
