package keeper

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/workers"
)

const (
	choreInterval = 250 * time.Millisecond // how much reading a crash repeats, at most
	retryMin      = 50 * time.Millisecond
	retryMax      = 2 * time.Second
	maxJobs       = 16_384  // jobs in memory, beside those that are changed, waited for or just ending
	maxLeaving    = 64      // jobs whose streams are being collected to be kept
	maxWatches    = 100_000 // follows and waiting reads of a partition
)

// Errors of a keeper's answers.
var (
	ErrNotReady = errors.New("streams of the partition are being restored")
	ErrNotOwner = errors.New("streams of the partition are not owned")
	ErrNotFound = errors.New("no such job")
	ErrCrowded  = errors.New("too many wait for streams")
)

// Log is the partition of the topic streams.
type Log interface {
	// Open returns a reader that begins at an offset, or with the first record if that was removed.
	Open(from int64) (Reader, error)
	// Span returns the offset of the first record, and the one behind the last.
	Span(ctx context.Context) (start, end int64, err error)
	// Records returns at least one record at or behind an offset. The error is fetch.ErrRemoved if the record at the
	// offset was removed.
	Records(ctx context.Context, offset int64) ([]*kgo.Record, error)
}

// Reader reads the records of the partition in order.
type Reader interface {
	// Poll waits for records, or until ctx ends. It also returns where the topic ends, as far as that is known.
	Poll(ctx context.Context) (records []*kgo.Record, end int64, err error)
	Close()
}

// Config is what a keeper is made of.
type Config struct {
	Store  *store.Partition
	Log    Log
	Jobs   Jobs
	Shared *Shared
	// Workers takes the announcements of workers, which are in the topic, too; nil: they are passed over.
	Workers *workers.Table
	Logger  *slog.Logger
}

// Keeper keeps the streams of one partition's jobs.
type Keeper struct {
	// Set before Run, then only read.
	cfg    Config
	shared *Shared
	log    *slog.Logger
	news   news

	// Owned by Run's goroutine.
	ends     chan ends     // answers to where the topic ends
	contents chan contents // of streams that are to be kept
	wg       sync.WaitGroup
	asking   bool      // where the topic ends
	askedAt  time.Time // when that was asked last
	leaving  int
	saved    int64 // the position that the store has
	stray    strays
	lag      lag

	mu      sync.Mutex // guards all below and the fields of jobs; only news.mu and Tails.mu are taken under it
	jobs    map[string]*jobState
	used    list.List // of the jobs, the last used first
	ending  map[*jobState]struct{}
	dirty   map[*jobState]struct{}
	held    held
	next    int64 // the offset of the next record
	until   int64 // the keeper is ready from this offset on
	ready   bool
	watches int
	closed  bool
}

// New returns a keeper that goes on where its store left off.
func New(cfg Config) *Keeper {
	return &Keeper{
		cfg: cfg, shared: cfg.Shared, log: cfg.Logger, news: newNews(),
		ends: make(chan ends), contents: make(chan contents),
		jobs: map[string]*jobState{}, ending: map[*jobState]struct{}{}, dirty: map[*jobState]struct{}{},
	}
}

// Workers returns the workers that have announced themselves, in no order.
func (k *Keeper) Workers(now time.Time) []workers.Known {
	if k.cfg.Workers == nil {
		return nil
	}
	return k.cfg.Workers.Known(now)
}

// Told notes that another run of a job may count, or that the job has ended. It may be called from any goroutine at
// any time, and never waits.
func (k *Keeper) Told(id string) { k.news.tell(id) }

// Run reads the topic until ctx ends; then it saves what it has learned and wakes all who wait. The error is that of a
// store which cannot be used any more.
func (k *Keeper) Run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		k.wg.Wait()
		err = errors.Join(err, k.leave(err == nil))
	}()
	from, err := k.begin(ctx)
	if err != nil {
		return unless(ctx, err)
	}
	reader, err := k.cfg.Log.Open(from)
	if err != nil {
		return err
	}
	polled := make(chan batch)
	k.wg.Go(func() {
		defer reader.Close()
		k.poll(ctx, reader, polled)
	})
	chores := time.NewTicker(choreInterval)
	defer chores.Stop()
	for ctx.Err() == nil && err == nil {
		select {
		case b := <-polled:
			err = k.take(ctx, b)
		case <-k.news.wake:
			err = k.hear(ctx)
		case e := <-k.ends:
			k.endsAt(e)
		case c := <-k.contents:
			k.keep(c)
		case <-chores.C:
			err = k.chores(ctx)
		case <-ctx.Done():
		}
		k.settle(ctx)
	}
	return unless(ctx, err)
}

// unless returns nil for an error that only says that ctx has ended, else err.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// batch is what one poll has read.
type batch struct {
	records []*kgo.Record
	end     int64
}

func (k *Keeper) poll(ctx context.Context, r Reader, to chan<- batch) {
	for ctx.Err() == nil {
		records, end, err := r.Poll(ctx)
		if err != nil && ctx.Err() == nil {
			k.log.Warn("streams are not read", "err", err)
			pause.For(ctx, retryMin)
		}
		if len(records) == 0 {
			continue
		}
		k.lag.waits(records)
		select {
		case to <- batch{records, end}:
		case <-ctx.Done():
		}
	}
}

// retried calls f until it succeeds or ctx ends.
func (k *Keeper) retried(ctx context.Context, what string, f func() error) error {
	for wait := retryMin; ; wait = min(2*wait, retryMax) {
		err := f()
		if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrUnsound) {
			return errors.Join(err, ctx.Err())
		}
		k.log.Debug(what, "err", err)
		if !pause.For(ctx, wait) {
			return ctx.Err()
		}
	}
}

// begin waits until the shard answers and Kafka tells what the topic has, and returns from where it is to be read. Of
// the rows only the names of those that are open are read: their jobs may have ended meanwhile.
func (k *Keeper) begin(ctx context.Context) (from int64, err error) {
	err = k.retried(ctx, "the shard is not ready", func() error {
		_, err := k.cfg.Jobs(ctx, nil)
		return err
	})
	if err != nil {
		return 0, err
	}
	var start, end int64
	err = k.retried(ctx, "the topic streams is not known yet", func() error {
		start, end, err = k.cfg.Log.Span(ctx)
		return err
	})
	if err != nil {
		return 0, err
	}
	from, known, err := k.cfg.Store.StreamsPosition()
	if err != nil {
		return 0, fmt.Errorf("read the position in streams: %w", err)
	}
	switch {
	case known && from > end:
		k.log.Error("the topic streams has lost records: it is read from its beginning", "position", from, "end", end)
		from = start
	case !known || from < start:
		from = start
	}
	err = k.cfg.Store.OpenStreams(func(id string) {
		k.news.want(id)
		k.news.tell(id)
	})
	k.saved = -1
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next, k.until = from, end
	k.ready = from >= end
	return from, err
}

// leave is the end of Run.
func (k *Keeper) leave(save bool) (err error) {
	if k.cfg.Workers != nil {
		k.cfg.Workers.Close()
	}
	if save {
		if err = k.save(); errors.Is(err, store.ErrFull) {
			err = nil // it is read again
		}
	}
	k.shared.lag.Add(float64(k.lag.set(0)))
	k.mu.Lock()
	defer k.mu.Unlock()
	k.closed = true
	k.shared.waiting.Sub(float64(k.held.bytes))
	for _, j := range k.jobs {
		k.dropTails(j)
		j.wake()
	}
	return err
}

// chores are what may wait for a moment.
func (k *Keeper) chores(ctx context.Context) error {
	k.mu.Lock()
	k.dropOverdue(time.Now())
	k.mu.Unlock()
	if k.cfg.Workers != nil {
		k.cfg.Workers.Sweep(time.Now())
	}
	if err := k.sweep(ctx, time.Now()); err != nil {
		return err
	}
	err := k.save()
	if errors.Is(err, store.ErrFull) {
		return nil // the shard says so, too
	}
	return err
}

// save writes what the store lacks, and the position up to which it then has all.
func (k *Keeper) save() error {
	k.mu.Lock()
	position := k.held.first(k.next)
	var changes []store.StreamsChange
	var jobs []*jobState
	var failed error
	for j := range k.dirty {
		change, err := j.change()
		failed = errors.Join(failed, err)
		changes = append(changes, change)
		jobs = append(jobs, j)
		j.dirty = false
	}
	clear(k.dirty)
	k.mu.Unlock()
	if failed != nil || len(changes) == 0 && position == k.saved {
		return failed
	}
	err := k.cfg.Store.SaveStreams(changes, position)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		for _, j := range jobs {
			k.change(j)
		}
		return err
	}
	k.saved = position
	for _, j := range jobs {
		if !j.dirty && j.closed {
			j.whole = nil
		}
		k.release(j)
	}
	return nil
}

// change returns what the store is to have of a job.
func (j *jobState) change() (store.StreamsChange, error) {
	c := store.StreamsChange{ID: j.id, Closed: j.closed}
	if j.asked && !j.facts.Found || len(j.row.Streams) == 0 {
		return c, nil
	}
	var err error
	if c.Row, err = encodeRow(j.row, j.whole); err != nil {
		err = fmt.Errorf("encode streams of job %s: %w", j.id, err)
	}
	return c, err
}
