package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/store"
)

// Bounds and rhythms of a shard.
const (
	recordBatches = 4           // polled batches that wait for the shard
	queuedCalls   = 1024        // questions that wait for the shard
	maxHandOuts   = 64          // at a time
	choreInterval = time.Second // of what may wait: expiry, timers to load, the view
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

// Shard is the owner of one partition of status.
type Shard struct {
	// Set before Run, then only read.
	partition  int32
	partitions int32
	store      *store.Partition
	sender     sender
	metrics    *Metrics
	tracer     trace.Tracer // nil: no spans are made
	log        *slog.Logger

	bounds kafka.Bounds // of what is asked of Kafka

	records chan []*kgo.Record
	calls   chan func()
	done    chan struct{} // closed when Run has ended
	wg      sync.WaitGroup

	saving   saving
	viewing  viewing
	pos      position
	catching catchUp

	// Owned by Run's goroutine.
	life      context.Context // ends with Run
	broken    error           // why Run must end
	left      bool            // Run has ended: nobody is answered any more
	jobs      memory
	census    census
	clock     logClock
	debts     debts
	handOuts  handOuts
	webhooks  webhooks
	questions questions
	audience  audience
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
	Tracer      trace.Tracer // nil: no spans are made
	Log         *slog.Logger
}

// New returns a shard that goes on where its store left off.
func New(cfg Config) *Shard {
	next := cfg.Store.Position()
	s := &Shard{
		partition:  cfg.Partition,
		partitions: cfg.Partitions,
		store:      cfg.Store,
		metrics:    cfg.Metrics,
		tracer:     cfg.Tracer,
		log:        cfg.Log.With("partition", cfg.Partition),
		records:    make(chan []*kgo.Record, recordBatches),
		calls:      make(chan func(), queuedCalls),
		done:       make(chan struct{}),
		census:     newCensus(cfg.Metrics),
		catching:   catchUp{end: -1, grants: map[string]event.Order{}},
		tickets:    newTickets(),
	}
	s.sender = sender{kafka: cfg.Kafka, names: cfg.Names, metrics: cfg.Metrics, log: s.log}
	s.jobs = newMemory(cfg.Store, s.debts.disarm)
	s.pos.begin(next, cfg.Store.Totals().ClosedAt)
	s.clock = newLogClock(cfg.BrokerTimes, cfg.Metrics, s.log)
	s.bounds = cfg.Bounds
	if s.bounds == (kafka.Bounds{}) {
		s.bounds = kafka.Timeouts{}.Bounds()
	}
	s.questions = newQuestions(&s.jobs, &s.pos, &s.catching, s.metrics, s.aside, s.logEnd)
	s.audience = audience{
		partition: s.partition, partitions: s.partitions, jobs: &s.jobs, pos: &s.pos, clock: &s.clock,
		catching: &s.catching, questions: &s.questions, metrics: s.metrics, source: s,
	}
	s.audience.begin()
	s.debts = newDebts(&s.jobs, &s.clock, &s.sender, s.handOuts.add)
	s.handOuts = handOuts{
		jobs: &s.jobs, sender: &s.sender, tracer: cfg.Tracer, limit: s.bounds.Steps, schedule: s.debts.schedule,
	}
	s.handOuts.turns = turns{most: maxHandOuts, aside: s.aside, begin: s.handOuts.beginTurn}
	s.webhooks = webhooks{jobs: &s.jobs, sender: &s.sender, limit: s.bounds.Steps}
	s.webhooks.turns = turns{most: maxCallbacks, aside: s.aside, begin: s.webhooks.beginTurn}
	s.saving.open(cfg.Store, cfg.Metrics, s.log, s.wg.Go)
	s.viewing.view = cfg.View
	s.viewing.open(cfg.Store, cfg.Metrics, s.log, s.wg.Go, s.bounds.View)
	return s
}

// Position is the offset of the next record that the shard will fold.
func (s *Shard) Position() int64 { return s.pos.shown.Load() }

// Ready says why the shard cannot do its work; nil when it can.
func (s *Shard) Ready() error {
	switch {
	case !s.catching.ready.Load():
		return fmt.Errorf("%w: partition %d at offset %d", ErrNotReady, s.partition, s.Position())
	case s.saving.full.Load():
		return fmt.Errorf("partition %d: %w", s.partition, store.ErrFull)
	}
	if age := s.Unwritten(); age > checkpointSilence {
		return fmt.Errorf("partition %d: the disk has not taken a change for %s", s.partition, age.Round(time.Second))
	}
	if err := s.viewing.err(); err != nil {
		return fmt.Errorf("partition %d: %w", s.partition, err)
	}
	return nil
}

// Remaining is how many records a shard that is not ready has still to fold, as far as it knows.
func (s *Shard) Remaining() int64 { return max(s.catching.until.Load()-s.Position(), 0) }

// Fold hands records over, in order. It waits while the shard is busy, until ctx ends or
// the shard has.
func (s *Shard) Fold(ctx context.Context, records []*kgo.Record) {
	select {
	case s.records <- records:
	case <-s.done:
	case <-ctx.Done():
	}
}

// call runs f on the shard's goroutine. After ErrNotOwner f may or may not have run.
func (s *Shard) call(ctx context.Context, f func()) error {
	select {
	case s.calls <- f:
	case <-s.done:
		return ErrNotOwner
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-s.done: // f may lie in a queue that nobody reads any more
		return ErrNotOwner
	default:
		return nil
	}
}

// aside runs work on a goroutine of its own, then done with its result on the shard's, unless Run has ended.
func (s *Shard) aside(work func(context.Context) error, done func(error)) {
	s.wg.Go(func() {
		err := work(s.life)
		_ = s.call(s.life, func() { done(err) })
	})
}

// Run owns the partition until ctx ends; then it writes a last checkpoint, tells its
// watchers that it is no longer the owner, and waits for all that it started.
func (s *Shard) Run(ctx context.Context) (err error) {
	s.metrics.shards.Inc()
	ctx, cancel := context.WithCancel(ctx)
	s.life = ctx
	defer func() {
		cancel()
		close(s.done)
		s.wg.Wait()
		err = errors.Join(err, s.leave())
	}()
	if err := s.restore(); err != nil {
		return err
	}
	s.catching.begin(s.pos.next, time.Now())
	s.learnEnd(ctx)

	checkpoints := newAlarm() // runs only while there is something to write
	defer checkpoints.Stop()
	chores := time.NewTicker(choreInterval)
	defer chores.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		s.debts.arm(timer)
		if s.unsaved() {
			checkpoints.set(s.saving.wait())
		}
		select {
		case <-ctx.Done():
			return nil
		case records := <-s.recordsIfRoom():
			s.foldAll(records)
		case f := <-s.calls:
			f()
		case <-timer.C:
			s.debts.pay(time.Now())
		case now := <-chores.C:
			s.chores(now)
		case <-checkpoints.C:
			checkpoints.rang()
			s.checkpoint()
		case err := <-s.saving.checkpointed:
			s.settle(err)
		case err := <-s.viewing.written:
			s.viewWritten(err)
		}
		if s.broken != nil {
			return s.broken
		}
	}
}

// chores are what may wait for a second.
func (s *Shard) chores(now time.Time) {
	if attrs := s.catching.progress(s.pos.next, now); attrs != nil {
		s.log.Info("restoring from status", attrs...)
	}
	if s.catching.ready.Load() {
		s.check(s.debts.expire(time.Now()))
		s.check(s.debts.load(time.Now()))
	}
	s.debts.endGrace(now)
	s.questions.sweep(time.Now())
	s.tickets.sweep(time.Now())
	s.writeView()
}

// recordsIfRoom is where records come from: nowhere while more changes wait for the store
// than memory should hold.
func (s *Shard) recordsIfRoom() <-chan []*kgo.Record {
	if s.saving.crowded() {
		return nil
	}
	return s.records
}

// alarm is a timer that is set once until it rings.
type alarm struct {
	*time.Timer
	isSet bool
}

func newAlarm() *alarm {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &alarm{Timer: t}
}

func (a *alarm) set(d time.Duration) {
	if !a.isSet {
		a.isSet = true
		a.Reset(d)
	}
}

func (a *alarm) rang() { a.isSet = false }

// fail ends Run with the first error. What the store does not have by then is folded again
// by the next owner.
func (s *Shard) fail(err error) {
	if s.broken == nil {
		s.broken = fmt.Errorf("partition %d: %w", s.partition, err)
	}
}

// check ends Run if there is an error.
func (s *Shard) check(err error) {
	if err != nil {
		s.fail(err)
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

// restore loads the jobs that a run holds, or that owe a webhook. Their timers start once the shard is ready.
func (s *Shard) restore() error {
	if err := s.census.begin(s.store); err != nil {
		s.fail(fmt.Errorf("count jobs: %w", err))
		return s.broken
	}
	err := s.store.DueJobs(0, 1, func(id string, _ int64) (bool, error) {
		e, err := s.jobs.lookup(id)
		if err == nil {
			s.jobs.keep(e)
		}
		return true, err
	})
	if err != nil {
		s.fail(fmt.Errorf("load running jobs: %w", err))
	}
	return s.broken
}

// leave is the end of Run: the shard's goroutine is its only one by now.
func (s *Shard) leave() error {
	s.metrics.shards.Dec()
	s.left = true
	s.questions.close()
	s.handOuts.close()
	s.webhooks.close()
	if s.catching.leave() {
		s.metrics.readyShards.Dec()
	}
	var err error
	if s.broken == nil {
		err = s.lastWords()
	}
	for {
		select {
		case f := <-s.calls:
			f() // answers ErrNotOwner, or says that something has ended
			continue
		default:
		}
		break
	}
	s.questions.answerAll(ErrNotOwner)
	s.census.end()
	s.audience.dismiss()
	return err
}
