package shard

import (
	"context"
	"errors"
	"fmt"
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

// viewState is what a shard knows of its view. Owned by the shard's goroutine.
type viewState struct {
	view     View
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

// standing is why the view stands still; any goroutine may read it.
type standing struct {
	since time.Time
	err   error
}

func (v *viewState) note(id string) {
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

// viewReady says why the view stands still; nil while it does not.
func (s *Shard) viewReady() error {
	v := s.viewStands.Load()
	if v == nil || time.Since(v.since) < s.bounds.View {
		return nil
	}
	return fmt.Errorf("partition %d: view has not been written for %s: %w", s.partition,
		time.Since(v.since).Round(time.Second), v.err)
}

// ViewBehind is for how long transactions of the view have failed; 0 when the last one did not.
func (s *Shard) ViewBehind() time.Duration {
	if v := s.viewStands.Load(); v != nil {
		return max(time.Since(v.since), 0)
	}
	return 0
}

// writeView begins a transaction with all that the store has and the view has not. The
// store must not move meanwhile, so it waits for a checkpoint that is being written.
func (s *Shard) writeView() {
	v := &s.viewing
	v.wanted = false
	if v.view == nil || v.written != nil || !s.catching.ready.Load() {
		return
	}
	idle := len(v.unviewed) == 0 && !v.all
	if idle && (s.stored == v.viewed || time.Since(v.began) < viewIdle) {
		return
	}
	if s.checkpointed != nil {
		v.wanted = true
		return
	}
	s.beginView(s.life)
}

func (s *Shard) beginView(ctx context.Context) {
	v := &s.viewing
	v.taken = v.unviewed
	v.tookAll = v.all
	v.unviewed = nil
	v.all = false
	v.began = time.Now()
	totals := s.store.Totals()
	v.to = totals.Next
	reader := s.store.Reader()
	ids, all, viewed := v.taken, v.tookAll, v.viewed
	result := make(chan error, 1)
	v.written = result
	s.wg.Go(func() {
		began := time.Now()
		n, err := writeView(ctx, v.view, s.store, reader, ids, all, viewed, totals)
		if err = errors.Join(err, reader.Close()); err == nil {
			s.metrics.viewSeconds.Observe(time.Since(began).Seconds())
			s.metrics.viewJobs.Add(float64(n))
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

// viewWritten ends a transaction. What was not written waits for the next.
func (s *Shard) viewWritten(err error) {
	v := &s.viewing
	v.written = nil
	taken, all := v.taken, v.tookAll
	v.taken, v.tookAll = nil, false
	if err == nil {
		v.viewed = v.to
		v.failing = time.Time{}
		s.viewStands.Store(nil)
		s.metrics.viewWrites.WithLabelValues("committed").Inc()
		return
	}
	v.all = v.all || all
	for id := range taken {
		v.note(id)
	}
	switch {
	case errors.Is(err, ErrFenced):
		s.metrics.viewWrites.WithLabelValues("fenced").Inc()
		s.fail(err)
	case errors.Is(err, context.Canceled):
	default:
		if v.failing.IsZero() {
			v.failing = v.began
		}
		s.viewStands.Store(&standing{v.failing, err})
		s.metrics.viewWrites.WithLabelValues("error").Inc()
		s.log.Warn("view not written, will be tried again", "err", err)
	}
}

// lastView is the last transaction of an owner that leaves in order: who takes over from
// the view then has nothing to fold.
func (s *Shard) lastView() error {
	v := &s.viewing
	if v.view == nil || !s.catching.was || len(v.unviewed) == 0 && !v.all && s.stored == v.viewed {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.bounds.Ask)
	defer cancel()
	s.beginView(ctx)
	s.viewWritten(<-v.written)
	if s.broken != nil {
		return s.broken
	}
	if v.viewed == v.stored {
		return nil
	}
	return s.write(nil, s.stored, v.viewed, s.pos.closedAt)
}
