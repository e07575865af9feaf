package shard

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	minutes "github.com/ackwire/ackwire/tracker/activity"
	"github.com/ackwire/ackwire/tracker/store"
)

// Bounds of a shard's queues.
const (
	recordBatches = 16   // batches that wait for the shard
	queuedCalls   = 1024 // questions that wait for the shard
)

// Errors of a shard's answers.
var (
	ErrNotReady   = errors.New("partition is being restored")
	ErrNotOwner   = errors.New("partition is not owned")
	ErrNotFound   = errors.New("no such job")
	ErrOverloaded = errors.New("too many questions wait")
	ErrLogAway    = errors.New("the log does not say where it ends")
)

// Log is how a shard reaches Kafka. Produce never blocks; done runs on another goroutine.
type Log interface {
	Produce(rec *kgo.Record, done func(error))
	EndOffset(ctx context.Context, partition int32) (int64, error)
	Record(ctx context.Context, pos event.Position) (*kgo.Record, error)
}

// Shard is the owner of one partition of status. It is made of parts, each in a file of its own. A part has the state
// of one concern and knows the parts that it needs, but not the shard. What is the shard's own is the loop (Run), the
// fold, which says what parts hear and when, and the crossing from other goroutines to the loop's.
type Shard struct {
	// Set before Run, then only read.
	partition  int32
	partitions int32
	metrics    *Metrics
	tracer     trace.Tracer // nil: no spans are made
	log        *slog.Logger
	bounds     kafka.Bounds // of what is asked of Kafka
	sender     sender       // what is written to Kafka
	told       func(string) // hears of jobs whose Writer has changed; nil: nobody does

	records chan []decoded
	calls   chan func()
	done    chan struct{} // closed when Run has ended
	wg      sync.WaitGroup

	// Owned by Run's goroutine, except where a part says otherwise.
	life   context.Context // ends with Run
	broken error           // why Run must end
	left   bool            // Run has ended: nobody is answered any more

	pos       position  // how far the log is folded
	clock     logClock  // what time it is in the log
	jobs      memory    // the jobs in memory, over those in the store
	catching  catchUp   // whether the shard is ready
	saving    saving    // what the store lacks
	viewing   viewing   // what the topic view lacks
	census    census    // how many jobs have not ended
	debts     debts     // what jobs owe, and when
	handOuts  handOuts  // next dispatches
	webhooks  webhooks  // webhooks that are queued
	questions questions // what waits for an answer
	audience  audience  // who watches
	holdings  holdings  // what each worker holds
	tickets   tickets
}

// Config is what a shard is made of.
type Config struct {
	Partition  int32
	Partitions int32
	Names      topic.Names
	Store      *store.Partition
	Kafka      Log
	View       View // nil: there is no topic view
	// BrokerTimes says that the broker sets the times of all records, though these do not say so.
	BrokerTimes bool
	Bounds      kafka.Bounds // of what is asked of Kafka; those of the profile local if zero
	Metrics     *Metrics
	Activity    *minutes.Budget // what the tracker's shards have for the counts of the last minutes; a new one if nil
	Tracer      trace.Tracer    // nil: no spans are made
	// Told is called with the ID of each job whose Writer is another one by now; nil: nobody hears of it. It is called on
	// the shard's goroutine and must return at once.
	Told func(jobID string)
	Log  *slog.Logger
}

// New returns a shard that goes on where its store left off.
func New(cfg Config) *Shard {
	s := &Shard{
		partition:  cfg.Partition,
		partitions: cfg.Partitions,
		metrics:    cfg.Metrics,
		tracer:     cfg.Tracer,
		log:        cfg.Log.With("partition", cfg.Partition),
		bounds:     cfg.Bounds,
		told:       cfg.Told,
		records:    make(chan []decoded, recordBatches),
		calls:      make(chan func(), queuedCalls),
		done:       make(chan struct{}),
		catching:   newCatchUp(),
		census:     newCensus(cfg.Metrics, newActivity(cfg.Activity, cfg.Store.Position())),
		tickets:    newTickets(),
		holdings:   newHoldings(),
	}
	if s.bounds == (kafka.Bounds{}) {
		s.bounds = kafka.Timeouts{}.Bounds()
	}
	s.sender = sender{kafka: cfg.Kafka, names: cfg.Names, metrics: cfg.Metrics, log: s.log}
	s.pos.begin(cfg.Store.Position(), cfg.Store.Totals().ClosedAt)
	s.clock = newLogClock(cfg.BrokerTimes, cfg.Metrics, s.log)
	s.jobs = newMemory(cfg.Store, s.debts.disarm)
	s.saving.open(cfg.Store, cfg.Metrics, s.log, s.wg.Go)
	s.viewing.open(cfg.View, cfg.Store, cfg.Metrics, s.log, s.wg.Go, s.bounds.View)
	s.debts = newDebts(&s.jobs, &s.clock, &s.sender, s.handOuts.add)
	s.handOuts.open(&s.jobs, &s.sender, cfg.Tracer, s.bounds.Steps, s.debts.schedule, s.aside)
	s.webhooks.open(&s.jobs, &s.sender, s.bounds.Steps, s.aside)
	s.questions = newQuestions(&s.jobs, &s.pos, &s.catching, s.metrics, s.aside, s.logEnd)
	s.audience = audience{
		partition: s.partition, partitions: s.partitions, jobs: &s.jobs, pos: &s.pos, clock: &s.clock,
		catching: &s.catching, questions: &s.questions, metrics: s.metrics, source: s,
	}
	s.audience.open()
	return s
}

// Position is the offset of the next record that the shard will fold.
func (s *Shard) Position() int64 { return s.pos.shown.Load() }

// Fold decodes records and hands them over, in order. It waits while the shard is busy, until ctx ends or
// the shard has.
func (s *Shard) Fold(ctx context.Context, records []*kgo.Record) {
	for some := range slices.Chunk(records, decodedBatch) {
		select {
		case s.records <- s.decodeAll(some):
		case <-s.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Advance tells that the log begins at an offset, so that nothing before it will come.
func (s *Shard) Advance(ctx context.Context, to int64) {
	_ = s.call(ctx, func() {
		if to > s.pos.next {
			s.pos.next = to
			s.pos.show()
			s.saving.unwritten.changed(time.Now())
			s.caughtUp()
			s.questions.unpark()
		}
	})
}
