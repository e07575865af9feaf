// Package processor runs jobs. A program registers a handler per job type and calls Run:
//
//	w, err := processor.New(processor.Config{Brokers: []string{"kafka:9092"}, Lanes: []string{"default"}})
//	processor.Handle(w, "mail.send", sendMail)
//	err = w.Run(ctx)
//
// Kafka hands work over, the lease owns it: a request's offset is committed once its claim is
// durable, and from then on the run tells the log of its job what becomes of it, whatever
// happens to the partition. Execution is at least once; exactly one outcome is recorded.
//
// The lease is counted on this process's monotonic clock, which stands still while a
// machine is suspended: a handler that must not act beyond its lease hands Job.Dispatch and
// Job.Run to whatever it changes.
package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
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

// maxSeen bounds how many dispatches a worker remembers to have met.
const maxSeen = 32 << 10

// Processor takes jobs from its lanes and runs their handlers.
type Processor struct {
	// Set by New, then only read.
	cfg           Config
	env           service.Env
	log           *slog.Logger
	names         topic.Names
	kafka         kafka.Config
	registry      registry
	blobs         Blobs                                              // nil: there is none
	check         func(jobType string, result json.RawMessage) error // nil: there is none
	worker        string
	metrics       *metrics
	tracer        trace.Tracer // nil: no spans are made
	lanes         []*lane
	progressPause time.Duration

	// Set by Run before any run exists, then only read.
	client      *kgo.Client // produces and asks; lanes and orders have clients of their own
	produceCtx  context.Context
	handlersCtx context.Context

	handlersDone sync.WaitGroup
	burials      sync.WaitGroup
	appending    trouble
	contact      contact     // with Kafka
	busy         wake.Signal // tells the pulse that there is a run

	mu         sync.Mutex // guards the rest; no other lock is taken under it
	handlers   map[string]RawHandler
	middleware []Middleware
	started    bool
	notReady   error
	runs       map[string]*run // by run ID; slots bound it
	dispatch   *seen
	emptied    chan struct{} // when set: closed as soon as there are no runs
}

// New makes a processor; handlers are registered with it (Handle) before Run is called. It does no
// I/O. The error joins all that is wrong with the configuration.
func New(cfg Config, opts ...Option) (*Processor, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("processor configuration: %w", err)
	}
	o := chosen(opts)
	p := &Processor{
		cfg: cfg, names: cfg.names(), kafka: cfg.kafka(), worker: cfg.WorkerID,
		registry:      registry{o.metrics},
		blobs:         o.blobs,
		check:         o.check,
		tracer:        tracing.Tracer(o.traces, "processor"),
		progressPause: time.Duration(float64(time.Second) / cfg.ProgressRate),
		busy:          wake.New(),
		handlers:      map[string]RawHandler{},
		notReady:      errors.New("not started"),
		runs:          map[string]*run{},
		dispatch:      newSeen(maxSeen),
	}
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
	for _, name := range cfg.Lanes {
		p.lanes = append(p.lanes, newLane(p, name))
	}
	return p, nil
}

// WorkerID is the name under which this processor claims jobs.
func (p *Processor) WorkerID() string { return p.worker }

// Setup is tried again until Kafka answers.
const (
	setupWait  = 10 * time.Second // one try
	setupPause = 500 * time.Millisecond
)

// Run takes and runs jobs until ctx ends, then stops politely: it takes no more, lets
// running handlers go on for Config.Grace, ends their contexts with ErrShutdown, gives their
// jobs back and waits, within bounds, until Kafka has confirmed every report. It returns when
// all it started has ended, and an error if something did not end in time: a handler that
// ignores its context (its goroutine is then left behind), or a report that Kafka did not
// confirm. It may be called once.
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

	// What the runs need lives until they have reported, longer than ctx.
	lasting := context.WithoutCancel(ctx)
	produceCtx, abandon := context.WithCancel(lasting)
	defer abandon()
	handlersCtx, endHandlers := context.WithCancel(lasting)
	defer endHandlers()
	p.produceCtx, p.handlersCtx = produceCtx, handlersCtx

	// The first of the parts that fails ends the whole processor.
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
	part(&caring, careCtx, func(ctx context.Context) error { return p.listen(ctx, home) })
	part(&caring, careCtx, p.beat)
	part(&caring, careCtx, func(ctx context.Context) error { return p.contact.watch(ctx, client) })
	for _, l := range p.lanes {
		part(&taking, takeCtx, l.attend)
	}
	p.setReady(nil)
	p.log.Info("taking jobs", "lanes", p.cfg.Lanes, "slots", p.cfg.Slots, "host", hostName())

	<-takeCtx.Done()
	p.setReady(errors.New("stopping"))
	stopErr := p.stop(&taking)
	stopCaring()
	caring.Wait()
	abandon()
	p.burials.Wait()
	if cause := context.Cause(takeCtx); ctx.Err() == nil && cause != nil {
		stopErr = errors.Join(cause, stopErr)
	}
	return stopErr
}

// setup makes the topics and finds the worker's home, again until Kafka answers; ok is
// false when ctx has ended first.
func (p *Processor) setup(ctx context.Context) (h home, ok bool) {
	specs := []topic.Spec{
		p.names.StatusSpec(p.cfg.Partitions), p.names.ControlSpec(p.cfg.Partitions), p.names.DeadSpec(),
	}
	for _, lane := range p.cfg.Lanes {
		specs = append(specs, p.names.RequestsSpec(lane, p.cfg.Partitions))
	}
	topics := make([]kafka.Topic, len(specs))
	for i, s := range specs {
		topics[i] = kafka.Topic{Name: s.Name, Partitions: s.Partitions, Configs: s.Configs}
	}
	p.setReady(errors.New("starting"))
	for {
		err := func() (err error) {
			ctx, cancel := context.WithTimeout(ctx, setupWait)
			defer cancel()
			if _, err = kafka.EnsureTopics(ctx, p.client, topics...); err != nil {
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
		p.log.Warn("set up", "err", err)
		p.setReady(fmt.Errorf("starting: %w", err))
		pause.For(ctx, setupPause)
	}
}

// learnTimes asks for which lanes a request's time is the broker's. It is not known where the
// broker does not let this worker ask: then the requests themselves must say so.
func (p *Processor) learnTimes(ctx context.Context) {
	topics := make([]string, len(p.lanes))
	for i, l := range p.lanes {
		topics[i] = l.topic
	}
	times, err := kafka.AppendTimes(ctx, p.client, topics...)
	if err != nil {
		p.log.Info("whose clock the requests' times are of is not known", "err", err)
	}
	for _, l := range p.lanes {
		l.brokerTimes = times[l.topic]
	}
}

// beat is the one ticker of all runs: beats, repetitions, conflated progress and the ends
// of leases. It stands still while there are none.
func (p *Processor) beat(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.busy:
		}
		ticker := time.NewTicker(pulse)
		for runs := p.snapshot(); len(runs) > 0; runs = p.snapshot() {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return nil
			case <-ticker.C:
			}
			now := time.Now()
			for _, r := range runs {
				r.tick(now)
			}
		}
		ticker.Stop()
	}
}

// met reports whether this worker was handed the dispatch before, and remembers it.
func (p *Processor) met(jobID string, dispatch int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dispatch.meet(jobID + "/" + strconv.Itoa(dispatch))
}

func (p *Processor) add(r *run) {
	p.mu.Lock()
	p.runs[r.id] = r
	p.mu.Unlock()
	p.busy.Send()
}

func (p *Processor) remove(r *run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.runs, r.id)
	if len(p.runs) == 0 && p.emptied != nil {
		close(p.emptied)
		p.emptied = nil
	}
}

func (p *Processor) run(id string) *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.runs[id]
}

func (p *Processor) snapshot() []*run {
	p.mu.Lock()
	defer p.mu.Unlock()
	runs := make([]*run, 0, len(p.runs))
	for _, r := range p.runs {
		runs = append(runs, r)
	}
	return runs
}
