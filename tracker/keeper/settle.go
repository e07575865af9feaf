package keeper

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
)

// maxKept is how many bytes all streams of an ended job may have together to be kept whole in the store.
const maxKept = 256 << 10

// ends is where the topic ended at a moment when some jobs had ended.
type ends struct {
	start, end int64
	err        error
	of         []*jobState
}

// contents is what all streams of a job have.
type contents struct {
	of    *jobState
	run   string
	whole []keptStream
	err   error
}

// settle looks at the jobs that have ended: once all that counts was read, their rows are closed. What a document's
// totals tell of is waited for; without totals, what the topic held a moment after the end was folded.
func (k *Keeper) settle(ctx context.Context) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var unknown []*jobState
	for j := range k.ending {
		switch {
		case j.facts.complete(&j.row), j.endAt >= 0 && k.next >= j.endAt:
			if k.leaving >= maxLeaving {
				return // the next time
			}
			delete(k.ending, j)
			j.settled = true
			k.close(ctx, j)
			j.wake()
			k.release(j)
		case j.endAt < 0:
			unknown = append(unknown, j)
		}
	}
	// What the keeper waits for to be ready may have been removed from the topic meanwhile.
	if k.asking || len(unknown) == 0 && (k.ready || time.Since(k.askedAt) < retryMax) {
		return
	}
	k.asking, k.askedAt = true, time.Now()
	k.wg.Go(func() {
		start, end, err := k.cfg.Log.Span(ctx)
		if err != nil {
			pause.For(ctx, retryMin)
		}
		select {
		case k.ends <- ends{start, end, err, unknown}:
		case <-ctx.Done():
		}
	})
}

// endsAt takes where the topic ended. What was removed from the topic before it was read will not be read.
func (k *Keeper) endsAt(e ends) {
	k.asking = false
	if e.err != nil {
		k.log.Warn("the end of the topic streams is not known", "err", e.err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.next = max(k.next, e.start)
	k.ready = k.ready || k.next >= k.until
	for _, j := range e.of {
		if j.facts.Ended && j.endAt < 0 {
			j.endAt = e.end
		}
	}
}

// close closes the row of a job that has ended, with the content of its streams if that is small and all there.
func (k *Keeper) close(ctx context.Context, j *jobState) {
	var names []string
	size := int64(0)
	for name, s := range j.row.Streams {
		names = append(names, name)
		size += s.Bytes
		if total, told := j.facts.Totals[name]; s.Gone || told && s.End < total.Total {
			size += maxKept // it is not all there
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	if size > maxKept {
		j.closed = true
		k.change(j)
		return
	}
	j.leaving = true
	k.leaving++
	run := j.row.Run
	views := make([]view, len(names))
	for i, name := range names {
		views[i] = k.view(j, name)
	}
	k.wg.Go(func() {
		c := contents{of: j, run: run}
		for _, v := range views {
			var kept keptStream
			if kept, c.err = k.content(ctx, v); c.err != nil {
				break
			}
			c.whole = append(c.whole, kept)
		}
		select {
		case k.contents <- c:
		case <-ctx.Done():
		}
	})
}

// content collects all that a stream has.
func (k *Keeper) content(ctx context.Context, v view) (keptStream, error) {
	kept := keptStream{Name: v.name}
	for at := int64(0); at < v.end; {
		g, err := k.collect(ctx, &v, at, maxKept)
		if errors.Is(err, errGone) || ctx.Err() != nil {
			return kept, err
		}
		if err != nil {
			k.log.Warn("streams of an ended job are not read, and will be tried again", "job", v.id, "err", err)
			pause.For(ctx, retryMax)
			continue
		}
		for _, value := range g.pieces {
			n := length(v.kind, value)
			kept.Pieces = append(kept.Pieces, piece{at, at + n, value})
			at += n
		}
	}
	return kept, nil
}

// keep closes the row of a job whose streams were collected. If they could not be, it is closed without them.
func (k *Keeper) keep(c contents) {
	k.leaving--
	j := c.of
	k.mu.Lock()
	defer k.mu.Unlock()
	if !j.leaving || j.row.Run != c.run || k.jobs[j.id] != j {
		return
	}
	j.leaving, j.closed = false, true
	if c.err == nil {
		j.whole = c.whole
		k.shared.kept.Inc()
	}
	k.change(j)
	j.wake()
}

// Bounds of the sweep.
const (
	sweepAfter    = time.Minute
	sweepInterval = time.Hour
	sweepRows     = 256 // that are looked at in one step
)

// strays is how far the sweep has come that looks for closed rows without a job. Rows are removed with their jobs; one
// that was written while its job was being removed, before a crash, is found here.
type strays struct {
	after string
	due   time.Time
}

func (k *Keeper) sweep(ctx context.Context, now time.Time) error {
	s := &k.stray
	if s.due.IsZero() {
		s.due = now.Add(sweepAfter)
	}
	if now.Before(s.due) {
		return nil
	}
	ids, last, err := k.cfg.Store.StrayStreams(s.after, sweepRows)
	if err != nil {
		return err
	}
	s.after = last
	if last == "" {
		s.due = now.Add(sweepInterval)
	}
	return k.askAgain(ctx, ids)
}
