package gateway

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/budget"
	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/hub"
	"github.com/ackwire/ackwire/gateway/intake"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/lists"
	"github.com/ackwire/ackwire/gateway/origin"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/gateway/subjects"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Gateway is one gateway process.
type Gateway struct {
	// Set by New, then only read.
	cfg      Config
	env      service.Env
	names    topic.Names
	types    jobtypes.Set
	origins  origin.Set
	idKeys   intake.IDKeys
	verifier *auth.Verifier
	metrics  *metrics
	tracer   trace.Tracer // nil if no spans are made
	kafkaUp  *intake.Health
	keeper   *kafka.Keeper
	hub      *hub.Hub
	subjects *subjects.Index
	lists    *lists.Index
	room     *streams.Room  // of streams of jobs
	waiting  *budget.Budget // for the bytes that wait to be written to clients
	conns    *conns.Conns
	peers    *peers.Client
	pair     *certs.Pair // the listener's certificate; nil without TLS
	end      *end
	instance service.Instance

	// Set by Run before it serves, then only read.
	up       *upstream.Pair
	limits   *limits.Limits
	intake   *intake.Intake
	sessions *sessions
	api      *api.API

	streams     atomic.Pointer[upstream.Pair] // for the metrics, which may be read before Run
	addr        atomic.Pointer[string]
	consoleAddr atomic.Pointer[string]
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
		cfg:      cfg,
		origins:  allowed,
		env:      env.With("service", "gateway"),
		names:    topic.Names{Prefix: cfg.TopicPrefix},
		types:    types,
		kafkaUp:  intake.NewHealth(bounds),
		tracer:   tracing.Tracer(env.Traces, "gateway"),
		hub:      hub.New(bounds.Delivery),
		subjects: subjects.New(bounds),
		waiting:  cfg.Waiting.budget(),
		end:      newEnd(),
		instance: service.NewInstance(),
	}
	g.keeper = kafka.NewKeeper(cfg.Topics, "gateway", g.env)
	for _, a := range g.names.GatewayACLs(cfg.Bulk.Mode == BulkOn) {
		g.keeper.Need(kafka.Permission(a))
	}
	if g.tracer != nil {
		g.hub.Pushed, g.subjects.Pushed = pushes{g.tracer}.pushed, pushes{g.tracer}.pushed
	}
	if err := g.openFiles(); err != nil {
		return nil, err
	}
	g.metrics = newMetrics(env.Metrics, g.watched, func() int {
		if up := g.streams.Load(); up != nil {
			return up.Streams()
		}
		return 0
	})
	g.metrics.waiting(g.waiting.Used)
	g.lists = lists.New(bounds, g.metrics.lists(func() (int, int) { return g.lists.Size() }))
	g.room = streams.New(bounds.Delivery, streams.NewMetrics(env.Metrics), g.env.Log)
	g.conns = conns.New(conns.Config{
		Connections: cfg.Connections, Strangers: cfg.Strangers, AddressStrangers: cfg.AddressStrangers,
		PingInterval: cfg.PingInterval, TurnedAway: g.metrics.turnedAway, Refused: g.metrics.http.Refused,
		Log: g.env.Log, Metrics: env.Metrics,
	})
	return g, nil
}

// openFiles reads the files of keys and certificates.
func (g *Gateway) openFiles() (err error) {
	env := certs.Env{Log: g.env.Log, Metrics: g.env.Metrics}
	g.verifier, err = auth.New(g.cfg.Auth, env, g.provider(), func(err error) {
		g.env.Log.Warn("the identity provider's keys are not read", "err", err)
	})
	if err != nil {
		return err
	}
	if g.idKeys, err = intake.OpenIDKeys(env, g.cfg.IDKeyFile); err != nil {
		return err
	}
	if g.peers, err = g.cfg.Internal.Client(env); err != nil {
		return err
	}
	if g.cfg.Cert != "" {
		g.pair, err = certs.OpenPair(env, "tls-cert", g.cfg.Cert, g.cfg.Key)
	}
	return err
}

// provider returns a client by which the identity provider is asked.
func (g *Gateway) provider() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: g.env.Dial}}
}

// build makes the parts that need Kafka, the trackers or the blob store. Tests that ask none of these give none.
func (g *Gateway) build(cl *kgo.Client, up *upstream.Pair, store *blobs.Store, systems ...topic.Names) {
	cfg := g.cfg
	bounds := cfg.Kafka.Bounds()
	asked := trackers{up, bounds.Delivery}
	g.up = up
	g.limits = limits.New(cfg.Limits, cfg.Sessions, bounds.Slack, asked.openJobs, g.metrics.turnedAway)
	g.intake = intake.New(intake.Config{
		Names: g.names, Types: g.types, SubmitTimeout: cfg.SubmitTimeout, InlinePayload: cfg.InlinePayload,
		Audit: cfg.Audit != AuditOff, TraceClients: cfg.TraceClients, ExactPlaces: cfg.AckQueue == AckQueueExact,
		Kafka: cl, Trackers: up, Blobs: store, Health: g.kafkaUp, IDKeys: g.idKeys, Verifier: g.verifier,
		Limits: g.limits, Metrics: g.metrics.submits, Tracer: g.tracer, Log: g.env.Log,
	})
	one := &session.Config{
		Load: asked.load, Budget: g.waiting, WaitingBytes: cfg.Waiting.Session,
		Verifier: g.verifier, Hub: g.hub, Subjects: g.subjects, Streams: g.room, Lists: g.lists, List: api.WatchedList,
		Jobs:   g.intake,
		Limits: g.limits, Metrics: g.metrics,
		Log: g.env.Log, PingInterval: cfg.PingInterval, FirstFrame: cfg.FirstFrame, FrameBytes: cfg.FrameBytes,
		Subscriptions: cfg.Subscriptions, InFlightSubmits: cfg.InFlightSubmits, FrameRate: cfg.FrameRate,
	}
	if cfg.Compression.On {
		one.Compression = &session.Compression{Threshold: cfg.Compression.Threshold, Sockets: cfg.Compression.Sockets}
	}
	g.sessions = newSessions(one, cfg.Sessions, g.conns, g.metrics)
	g.api = api.New(api.Config{
		Settings: api.Settings{
			Types: g.types, Origins: g.origins, LargestBody: cfg.largestBody(g.types), FrameBytes: cfg.FrameBytes,
			WaitingBytes: cfg.Waiting.Session, Subscriptions: cfg.Subscriptions, InFlightSubmits: cfg.InFlightSubmits,
			BatchBytes: cfg.largestBatch(g.types), Connections: cfg.Connections,
			HandshakeRate: cfg.HandshakeRate, PingInterval: cfg.PingInterval,
			ReadTimeout: bounds.Delivery, ReconnectAfter: maxReconnectAfter,
		},
		Systems: systems, Kafka: cl, Ask: bounds.Ask, Blobs: store,
		Trackers: up, Streamed: up, Dead: up, Past: up, Fleet: up, Tickets: up, Submits: g.intake, Orders: g.intake,
		Audit:   g.intake.Audit,
		Bulk:    g.bulkDoor(up, store),
		Clients: g.conns,
		Admit:   g.sessions.admit, Load: asked.load, Pushed: pushes{g.tracer}.pushed, TurnedAway: g.metrics.turnedAway,
		Verifier: g.verifier, Limits: g.limits, Hub: g.hub, Subjects: g.subjects, Streams: g.room,
		Waiting: g.waiting, Metrics: g.metrics.http,
		Log: g.env.Log, Leaving: g.end.leaving, Drain: g.end.drain,
	})
}

// Ready returns why the gateway is not ready for clients, or nil if it is.
func (g *Gateway) Ready() error {
	if g.end.begun() {
		return errors.New("draining")
	}
	var away error
	if up := g.streams.Load(); up != nil {
		away = up.Ready()
	}
	return errors.Join(g.kafkaUp.Ready(), g.keeper.Err(), away, g.verifier.Ready())
}

// Addr returns the address at which the gateway listens; empty before it does.
func (g *Gateway) Addr() string {
	if a := g.addr.Load(); a != nil {
		return *a
	}
	return ""
}

// ConsoleAddr returns the address at which the console is; empty before the gateway listens, and if there is none.
func (g *Gateway) ConsoleAddr() string {
	if a := g.consoleAddr.Load(); a != nil {
		return *a
	}
	return ""
}

// watched returns the number of jobs that are watched one by one, and of all watches.
func (g *Gateway) watched() (jobs, subscriptions int) {
	jobs, subscriptions = g.hub.Size()
	_, ofSubjects := g.subjects.Size()
	return jobs, subscriptions + ofSubjects
}
