package shard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/tracker/store"
)

// View is the partition's part of the topic view. One call at a time.
type View interface {
	// Write puts the jobs with these IDs as row has them, nil for a removed one, and the
	// totals into the view, in one transaction where that is not too large. After
	// ErrFenced another tracker owns the partition; other errors are worth another try.
	Write(ctx context.Context, ids []string, row func(id string) (*store.Row, error), totals store.Totals) error
}

// ErrFenced ends a shard: a later owner of its partition has begun.
var ErrFenced = errors.New("another tracker has taken the partition over")

// Bounds of the view.
const (
	maxUnviewed = 100_000          // IDs that wait for the view; above it they are looked for
	viewIdle    = 10 * time.Second // how long a position waits that changed no job
)

// viewing is what the topic view lacks, and the one transaction of it that may be under way. Owned by the shard's
// goroutine.
type viewing struct {
	// Set before Run, then only read.
	view    View // nil: there is none
	store   *store.Partition
	metrics *Metrics
	log     *slog.Logger
	spawn   func(func())  // runs a function on a goroutine that the shard waits for
	bound   time.Duration // a view that has stood still for so long makes the shard not ready

	stands atomic.Pointer[standing] // any goroutine may read it; nil: the last transaction was committed

	unviewed map[string]struct{} // the store has them, the view may not
	all      bool                // unviewed is not known, or too many: they are looked for
	viewed   int64               // the view's position
	stored   int64               // viewed, as the store has it
	wanted   bool                // a transaction waits for the checkpoint that is being written
	began    time.Time           // when the last transaction began
	written  <-chan error        // nil while no transaction runs
	taken    map[string]struct{} // what it writes
	tookAll  bool
	to       int64     // its position
	failing  time.Time // when the first of the transactions failed that failed in a row; zero is none
}

// standing is why the view stands still.
type standing struct {
	since time.Time
	err   error
}

// open sets what the viewing needs, and the view's position as the store has it.
func (v *viewing) open(
	to View, p *store.Partition, m *Metrics, log *slog.Logger, spawn func(func()), bound time.Duration,
) {
	v.view, v.store, v.metrics = to, p, m
	v.log, v.spawn, v.bound = log, spawn, bound
	v.all, v.viewed = true, p.Totals().Viewed
}

// note notes a job that the store has and the view may not.
func (v *viewing) note(id string) {
	if v.view == nil || v.all {
		return
	}
	if v.unviewed == nil {
		v.unviewed = map[string]struct{}{}
	}
	v.unviewed[id] = struct{}{}
	if len(v.unviewed) > maxUnviewed {
		v.unviewed, v.all = nil, true
	}
}

// err says why the view stands still; nil while it does not.
func (v *viewing) err() error {
	stands := v.stands.Load()
	if stands == nil || time.Since(stands.since) < v.bound {
		return nil
	}
	return fmt.Errorf("view has not been written for %s: %w", time.Since(stands.since).Round(time.Second), stands.err)
}

// behind is for how long transactions have failed; 0 when the last one did not.
func (v *viewing) behind() time.Duration {
	if stands := v.stands.Load(); stands != nil {
		return max(time.Since(stands.since), 0)
	}
	return 0
}

// ahead reports that the store does not know the view's position.
func (v *viewing) ahead() bool { return v.viewed > v.stored }

// saved notes that the store knows the view's position.
func (v *viewing) saved() { v.stored = max(v.stored, v.viewed) }

// lacks reports whether the view lacks a job, or the position that the store has.
func (v *viewing) lacks(stored int64) bool { return len(v.unviewed) > 0 || v.all || stored != v.viewed }

// write begins a transaction with all that the store has and the view has not. The
// store must not move meanwhile, so it waits for a checkpoint that is being written, which busy says.
func (v *viewing) write(ctx context.Context, stored int64, busy bool) {
	v.wanted = false
	if v.view == nil || v.written != nil {
		return
	}
	idle := len(v.unviewed) == 0 && !v.all
	if idle && (stored == v.viewed || time.Since(v.began) < viewIdle) {
		return
	}
	if busy {
		v.wanted = true
		return
	}
	v.transact(ctx)
}

// transact begins a transaction.
func (v *viewing) transact(ctx context.Context) {
	v.taken = v.unviewed
	v.tookAll = v.all
	v.unviewed = nil
	v.all = false
	v.began = time.Now()
	totals := v.store.Totals()
	v.to = totals.Next
	reader := v.store.Reader()
	ids, all, viewed := v.taken, v.tookAll, v.viewed
	result := make(chan error, 1)
	v.written = result
	v.spawn(func() {
		began := time.Now()
		n, err := writeView(ctx, v.view, v.store, reader, ids, all, viewed, totals)
		if err = errors.Join(err, reader.Close()); err == nil {
			v.metrics.viewSeconds.Observe(time.Since(began).Seconds())
			v.metrics.viewJobs.Add(float64(n))
		}
		result <- err
	})
}

func writeView(ctx context.Context, view View, p *store.Partition, r *store.Reader, taken map[string]struct{}, all bool,
	viewed int64, totals store.Totals) (int, error) {
	ids := make([]string, 0, len(taken))
	for id := range taken {
		ids = append(ids, id)
	}
	if all {
		if err := r.Unviewed(p, viewed, func(id string) { ids = append(ids, id) }); err != nil {
			return 0, err
		}
	}
	return len(ids), view.Write(ctx, ids, func(id string) (*store.Row, error) { return r.Row(p, id) }, totals)
}

// settle ends a transaction with its outcome. What was not written waits for the next. The error is ErrFenced.
func (v *viewing) settle(outcome error) error {
	v.written = nil
	taken, all := v.taken, v.tookAll
	v.taken, v.tookAll = nil, false
	if outcome == nil {
		v.viewed = v.to
		v.failing = time.Time{}
		v.stands.Store(nil)
		v.metrics.viewWrites.WithLabelValues("committed").Inc()
		return nil
	}
	v.all = v.all || all
	for id := range taken {
		v.note(id)
	}
	switch {
	case errors.Is(outcome, ErrFenced):
		v.metrics.viewWrites.WithLabelValues("fenced").Inc()
		return outcome
	case errors.Is(outcome, context.Canceled):
	default:
		if v.failing.IsZero() {
			v.failing = v.began
		}
		v.stands.Store(&standing{v.failing, outcome})
		v.metrics.viewWrites.WithLabelValues("error").Inc()
		v.log.Warn("view not written, will be tried again", "err", outcome)
	}
	return nil
}
