package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/topic"
)

// Processor takes jobs from its lanes and runs their handlers.
type Processor struct {
	// Set by New, then only read.
	cfg           Config
	env           service.Env
	log           *slog.Logger
	names         topic.Names
	kafka         kafka.Config
	bounds        kafka.Bounds
	registry      registry
	blobs         Blobs // nil if there is no blob store
	byType        byType
	worker        string
	metrics       *metrics
	tracer        trace.Tracer // nil if no spans are made
	lanes         []*lane
	progressPause time.Duration
	keeper        *kafka.Keeper // of the topics

	// Set by Run before any run exists, then only read.
	client      *kgo.Client     // produces, and asks for metadata; lanes and orders have clients of their own
	produceCtx  context.Context // of produces
	handlersCtx context.Context // parent of the handlers' contexts

	handlersDone sync.WaitGroup
	deadLetters  sync.WaitGroup // writers of dead letters
	appending    trouble        // the last failure to append an event
	contact      contact        // with Kafka
	busy         wake.Signal    // wakes the pulse when there is a run
	announcing   *announcer     // of what this worker is

	mu         sync.Mutex // guards the rest; no other lock is taken under it
	handlers   map[string]RawHandler
	middleware []Middleware
	started    bool
	notReady   error
	runs       map[string]*run // by run ID; the slots bound it
	dispatches *seen           // dispatches that this worker was given
	emptied    chan struct{}   // if not nil: closed as soon as there are no runs
}

// byType holds what depends on a job's type, beside its handler. Both may be nil.
type byType struct {
	check        func(jobType string, result json.RawMessage) error // of results
	streamLimits func(jobType string) (total, perSecond int64)      // 0: those of Config
}

// New makes a processor. Register its handlers (Handle) before you call Run. New does no I/O. The error joins all
// problems of the configuration.
func New(cfg Config, opts ...Option) (*Processor, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("processor configuration: %w", err)
	}
	o := chosen(opts)
	p := &Processor{
		cfg: cfg, names: cfg.names(), kafka: cfg.kafka(), bounds: cfg.kafka().Bounds(),
		worker:        cfg.WorkerID,
		registry:      registry{o.metrics},
		blobs:         o.blobs,
		byType:        byType{o.check, o.streams},
		tracer:        tracing.Tracer(o.traces, "processor"),
		progressPause: time.Duration(float64(time.Second) / cfg.ProgressRate),
		busy:          wake.New(),
		handlers:      map[string]RawHandler{},
		notReady:      errors.New("not started"),
		runs:          map[string]*run{},
		dispatches:    newSeen(maxSeen),
	}
	p.announcing = newAnnouncer(p)
	host := hostName()
	if p.worker == "" {
		p.worker = randomWorkerID(host, cfg.WorkerHost)
	}
	err := p.registry.all(func(r prometheus.Registerer) {
		p.metrics = newMetrics(r, cfg.Lanes)
		noteIdentity(r, p.worker, host)
	})
	if err != nil {
		return nil, fmt.Errorf("processor: %w", err)
	}
	p.log = o.log.With("service", "processor", "worker", p.worker)
	p.env = service.Env{Log: p.log, Metrics: p.registry, Dial: o.dial, Traces: o.traces}
	p.keeper = kafka.NewKeeper(cfg.kafkaTopics(), "processor", p.env)
	for _, a := range p.names.ACLs(topic.RoleProcessor, cfg.Lanes) {
		p.keeper.Need(kafka.Permission(a))
	}
	for _, name := range cfg.Lanes {
		p.lanes = append(p.lanes, newLane(p, name))
	}
	return p, nil
}

// WorkerID returns the ID with which this processor claims jobs.
func (p *Processor) WorkerID() string { return p.worker }

// Slots returns how many jobs of each lane the processor holds at the same time.
func (p *Processor) Slots() int { return p.cfg.Slots }

// setupPause is the wait between two tries of the setup, which is tried again until Kafka answers.
const setupPause = 500 * time.Millisecond

// Run takes and runs jobs until ctx ends, then stops gracefully: it takes no more jobs, lets
// running handlers go on for Config.Grace, then ends their contexts with ErrShutdown, hands
// their jobs back and waits, for a bounded time, until Kafka has confirmed every report. It
// returns when all its goroutines have ended. The error says what did not end in time: a handler
// that ignores its context (whose goroutine is then left behind), or a report that Kafka did not
// confirm. It may be called only once.
func (p *Processor) Run(ctx context.Context) error {
	p.mu.Lock()
	again := p.started
	p.started = true
	p.mu.Unlock()
	if again {
		return errors.New("processor: Run was called before")
	}
	defer p.setReady(errors.New("stopped"))

	client, err := p.kafka.NewClient(p.env, p.clientID())
	if err != nil {
		return err
	}
	defer client.Close()
	p.client = client
	home, ok := p.setup(ctx)
	if !ok {
		return nil
	}
	beside, err := p.besideClient(home)
	if err != nil {
		return err
	}
	defer beside.Close()

	// The runs need these contexts until they have reported, longer than ctx.
	lasting := context.WithoutCancel(ctx)
	produceCtx, abandon := context.WithCancel(lasting)
	defer abandon()
	handlersCtx, endHandlers := context.WithCancel(lasting)
	defer endHandlers()
	p.produceCtx, p.handlersCtx = produceCtx, handlersCtx

	// Two groups of parts: the lanes take jobs until ctx ends; orders, the pulse and pings go on until the runs have
	// ended. The first part that fails ends the whole processor.
	takeCtx, stopTaking := context.WithCancelCause(ctx)
	defer stopTaking(nil)
	careCtx, stopCaring := context.WithCancel(lasting)
	var taking, caring sync.WaitGroup
	part := func(wg *sync.WaitGroup, ctx context.Context, run func(context.Context) error) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				stopTaking(err)
			}
		})
	}
	part(&caring, careCtx, func(ctx context.Context) error { return p.listen(ctx, beside) })
	part(&caring, careCtx, p.keepPulse)
	caring.Go(func() { p.keeper.Run(careCtx, client) })
	caring.Go(func() { p.announcing.run(careCtx, beside) })
	part(&caring, careCtx, func(ctx context.Context) error { return p.contact.watch(ctx, client, p.bounds) })
	for _, l := range p.lanes {
		part(&taking, takeCtx, l.attend)
	}
	p.setReady(nil)
	p.log.Info("taking jobs", "lanes", p.cfg.Lanes, "slots", p.cfg.Slots, "host", hostName())

	<-takeCtx.Done()
	p.setReady(errors.New("stopping"))
	p.announcing.drain()
	stopErr := p.stop(&taking)
	stopCaring()
	caring.Wait()
	p.announcing.end(lasting, beside)
	abandon()
	p.deadLetters.Wait()
	if cause := context.Cause(takeCtx); ctx.Err() == nil && cause != nil {
		stopErr = errors.Join(cause, stopErr)
	}
	return stopErr
}

// setup makes missing topics, verifies all and finds the worker's home. It tries again until Kafka answers; ok is
// false if ctx ends first.
func (p *Processor) setup(ctx context.Context) (h home, ok bool) {
	specs := []topic.Spec{
		p.names.StatusSpec(p.cfg.Partitions), p.names.ControlSpec(p.cfg.Partitions), p.names.DeadSpec(),
		p.names.StreamsSpec(p.cfg.Partitions),
	}
	for _, lane := range p.cfg.Lanes {
		specs = append(specs, p.names.RequestsSpec(lane, p.cfg.Partitions))
	}
	topics := make([]kafka.Topic, len(specs))
	for i, s := range specs {
		topics[i] = kafka.Topic(s.With(p.cfg.TopicSettings))
	}
	p.setReady(errors.New("starting"))
	said := ""
	for {
		err := func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, p.bounds.Steps)
			defer cancel()
			if err = p.keeper.Ensure(ctx, p.client, topics...); err != nil {
				return err
			}
			p.learnTimes(ctx)
			h, err = p.findHome(ctx)
			return err
		}()
		switch {
		case ctx.Err() != nil:
			return home{}, false
		case err == nil:
			return h, true
		}
		err = kafka.Hint(err)
		if why := err.Error(); why != said {
			p.log.Warn("setup failed, trying again", "err", err)
			said = why
		}
		p.setReady(fmt.Errorf("starting: %w", err))
		pause.For(ctx, setupPause)
	}
}

// learnTimes asks Kafka for which lanes the broker sets the requests' timestamps. A broker may refuse to answer: then
// only the records themselves say so (lane.requestedAt).
func (p *Processor) learnTimes(ctx context.Context) {
	topics := make([]string, len(p.lanes))
	for i, l := range p.lanes {
		topics[i] = l.topic
	}
	times, err := kafka.AppendTimes(ctx, p.client, topics...)
	if err != nil {
		p.log.Info("cannot read whether the broker sets the requests' timestamps", "err", err)
	}
	for _, l := range p.lanes {
		l.brokerTimes = times[l.topic]
	}
}
