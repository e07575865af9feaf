package keeper

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// MaxAnswer is the largest number of bytes that an answer is asked for.
const MaxAnswer = 1 << 20

// Query asks for what follows a cursor.
type Query struct {
	JobID  string
	Facts  Facts // what the shard has said of the job a moment ago
	Stream string
	After  *trackerpb.StreamCursor // nil: the beginning of the run that counts
	Max    int                     // bytes of the pieces, about; at least one piece is sent
}

// reading is a query on its way: after moves on.
type reading struct {
	id     string
	facts  Facts
	stream string
	after  cursor
	max    int
}

func (q *Query) reading() *reading {
	return &reading{
		id: q.JobID, facts: q.Facts, stream: q.Stream, max: min(max(q.Max, 1), MaxAnswer),
		after: cursor{int(q.After.GetDispatch()), q.After.GetAt(), q.After.GetLife()},
	}
}

// Read answers a query. With wait it waits until there is something behind the cursor, or the stream has ended, was
// reset or is gone, or until ctx ends, when it answers with what there is: nothing.
func (k *Keeper) Read(ctx context.Context, q Query, wait bool) (*trackerpb.StreamPart, error) {
	r := q.reading()
	part, told, err := k.read(ctx, r)
	if err != nil || told || !wait {
		return part, err
	}
	w := waiter{wake.New()}
	stop, err := k.watch(r.id, w)
	if err != nil {
		return nil, err
	}
	defer stop()
	for {
		part, told, err = k.read(context.WithoutCancel(ctx), r)
		if err != nil || told {
			return part, err
		}
		select {
		case <-w.Signal:
		case <-ctx.Done():
			return part, nil
		}
	}
}

// waiter wakes a goroutine.
type waiter struct{ wake.Signal }

// Wake implements Waker.
func (w waiter) Wake() { w.Send() }

// read answers at once, and moves the cursor on. told is false if the part says nothing.
func (k *Keeper) read(ctx context.Context, r *reading) (part *trackerpb.StreamPart, told bool, err error) {
	v, err := k.look(r)
	if err != nil {
		return nil, false, err
	}
	from, what, reset := plan(&v, r.after)
	part = &trackerpb.StreamPart{Kind: string(v.kind), Total: v.end, Reset_: reset, NextAt: from.at}
	switch what {
	case more:
		g, err := k.collect(ctx, &v, from.at, r.max)
		if err == nil && len(g.pieces) == 0 {
			err = errors.New("a piece of the stream has no room")
		}
		if errors.Is(err, errGone) {
			what = lost
			break
		}
		if err != nil {
			return nil, false, err
		}
		from.at, part.NextAt, part.Pieces = g.from, g.next, g.pieces
		part.Ended = v.ended && g.next >= v.end
	case atEnd:
		part.Ended = true
	}
	part.Gone = what == lost
	part.UpToDate = !part.Gone && part.NextAt >= v.end && from.dispatch == v.dispatch
	part.From = &trackerpb.StreamCursor{Dispatch: int32(from.dispatch), At: from.at, Life: from.life}
	r.after = cursor{from.dispatch, part.NextAt, from.life}
	return part, reset || len(part.Pieces) > 0 || part.Ended || part.Gone, nil
}

// look returns the stream as it is now. That of a job which has ended is read from the store, if it is there.
func (k *Keeper) look(r *reading) (view, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.answers(); err != nil {
		return view{}, err
	}
	j := k.jobs[r.id]
	facts := r.facts
	if j != nil {
		k.learn(j, r.facts)
		facts = j.facts
	}
	if facts.Found && (j == nil && facts.Ended || j != nil && j.closed && j.whole == nil && !j.dirty) {
		k.mu.Unlock()
		v, ok, err := k.stored(r, &facts)
		k.mu.Lock()
		if err != nil || ok {
			return v, err
		}
		if err := k.answers(); err != nil {
			return view{}, err
		}
	}
	j, err := k.job(r.id)
	if err != nil {
		return view{}, err
	}
	k.learn(j, r.facts)
	if !j.facts.Found || j.facts.Life != r.facts.Life {
		return view{}, ErrNotFound
	}
	return k.view(j, r.stream), nil
}

// answers returns why the keeper does not answer. k.mu is held.
func (k *Keeper) answers() error {
	switch {
	case k.closed:
		return ErrNotOwner
	case !k.ready:
		return ErrNotReady
	}
	return nil
}

// stored returns the stream from a closed row; false if there is none of the run that counts.
func (k *Keeper) stored(r *reading, f *Facts) (v view, ok bool, err error) {
	value, closed, err := k.cfg.Store.Streams(r.id)
	if err != nil || !closed {
		return v, false, err
	}
	row, whole, err := decodeRow(value)
	if err != nil {
		return v, false, fmt.Errorf("streams of job %s: %w", r.id, err)
	}
	if row.Run != f.Run || row.Dispatch != f.Dispatch {
		return v, false, nil
	}
	v = viewOf(r.id, r.stream, f, &row, true)
	k.mu.Lock()
	v.limit = k.next
	k.mu.Unlock()
	for _, kept := range whole {
		if kept.Name == r.stream {
			v.pieces, v.origin = kept.Pieces, fromStore
		}
	}
	return v, true, nil
}

// Streams lists the streams of a job's run that counts, by name, and the dispatch that the run took.
func (k *Keeper) Streams(id string, f Facts) (all []*trackerpb.StreamState, dispatch int32, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.answers(); err != nil {
		return nil, 0, err
	}
	j, err := k.job(id)
	if err != nil {
		return nil, 0, err
	}
	k.learn(j, f)
	defer k.release(j)
	if !j.facts.Found {
		return nil, 0, ErrNotFound
	}
	names := map[string]bool{}
	for name := range j.row.Streams {
		names[name] = true
	}
	if j.facts.Ended {
		for name := range j.facts.Totals {
			names[name] = true
		}
	}
	for name := range names {
		v := viewOf(id, name, &j.facts, &j.row, j.closed || j.settled)
		all = append(all, &trackerpb.StreamState{Name: name, Kind: string(v.kind), Total: v.end, Ended: v.ended})
	}
	slices.SortFunc(all, func(a, b *trackerpb.StreamState) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return all, int32(j.facts.Dispatch), nil
}
