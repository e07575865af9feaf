package keeper

import (
	"context"
	"errors"
	"fmt"
	"sort"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/tracker/fetch"
)

// errGone is returned when a position's record was removed from the topic.
var errGone = errors.New("records of the stream were removed")

// view is one stream of the run that counts, at one moment.
type view struct {
	id, name string
	life     string
	dispatch int
	run      string
	kind     job.StreamKind
	end      int64
	ended    bool // nothing follows behind end
	gone     bool // what follows behind end is lost

	pieces []piece // some of the stream: its last part, or all of it
	origin origin  // of pieces
	marks  marks
	limit  int64 // the pieces lie before this offset of the topic
}

// viewOf returns a stream of a row, without pieces. settled says that all that counts was read, if the job has ended.
func viewOf(id, name string, f *Facts, r *row, settled bool) view {
	v := view{id: id, name: name, life: f.Life, dispatch: f.Dispatch, run: f.Run, origin: fromMemory}
	s := r.Streams[name]
	if s != nil {
		v.kind, v.end = s.Kind, s.End
		v.gone, v.marks = s.Gone, s.Marks
	}
	total, told := f.Totals[name]
	switch {
	case !f.Ended || v.gone:
	case told:
		if v.kind == "" {
			v.kind = total.Kind
		}
		v.ended = v.end >= total.Total
		v.gone = settled && !v.ended
	default:
		v.ended = settled || f.Dispatch == 0 || s == nil && len(f.Totals) > 0
	}
	return v
}

// view returns a stream of a job in memory. k.mu is held.
func (k *Keeper) view(j *jobState, name string) view {
	v := viewOf(j.id, name, &j.facts, &j.row, j.closed || j.settled)
	v.limit = k.next
	for _, kept := range j.whole {
		if kept.Name == name {
			v.pieces, v.origin = kept.Pieces, fromStore
			return v
		}
	}
	if t := j.tails[name]; t != nil {
		v.pieces = k.shared.tails.take(t)
	}
	return v
}

// cursor is a position in a stream; see trackerpb.StreamCursor.
type cursor struct {
	dispatch int
	at       int64
	life     uint32 // stream.LifeOf; 0 stands for any
}

// next says what a reader gets.
type next string

const (
	more  next = "more"
	none  next = "none" // there is nothing yet
	atEnd next = "end"
	lost  next = "lost"
)

// plan says what follows a reader's cursor, and from where. reset says that the cursor is of another run, or another
// life of the job's ID, or of what the run that counts has never written.
func plan(v *view, after cursor) (from cursor, what next, reset bool) {
	life := stream.LifeOf(v.life)
	switch {
	case after.life != 0 && after.life != life: // each life counts its dispatches from 1
		from, reset = cursor{v.dispatch, 0, life}, true
	case v.dispatch == 0 && after.dispatch > 0 && !v.ended, after.dispatch > v.dispatch && v.dispatch > 0:
		return after, none, false // the run is not folded yet
	case v.dispatch == 0 && after.dispatch == 0:
		from = cursor{0, 0, life}
	case after.dispatch != 0 && after.dispatch != v.dispatch:
		from, reset = cursor{v.dispatch, 0, life}, true
	case after.at < 0:
		from = cursor{v.dispatch, max(0, v.end+1+after.at), life}
	default:
		from = cursor{v.dispatch, after.at, life}
	}
	if v.ended && from.at > v.end {
		from, reset = cursor{v.dispatch, 0, life}, true
	}
	switch {
	case from.at < v.end:
		return from, more, reset
	case v.gone:
		return from, lost, reset
	case v.ended:
		return from, atEnd, reset
	}
	return from, none, reset
}

// find returns the piece that has the position at.
func (v *view) find(at int64) (piece, bool) {
	i := sort.Search(len(v.pieces), func(i int) bool { return v.pieces[i].To > at })
	if i == len(v.pieces) || v.pieces[i].From > at {
		return piece{}, false
	}
	return v.pieces[i], true
}

// collect returns what a stream has from a position on, which is before its end: about max bytes. The error is errGone
// when the topic does not hold the position any more.
func (k *Keeper) collect(ctx context.Context, v *view, at int64, maxBytes int) (*gathering, error) {
	g := gather(v.kind, at, maxBytes)
	for !g.full() && g.next < v.end {
		before := g.size
		p, ok := v.find(g.next)
		if !ok {
			if err := k.fromTopic(ctx, v, g); err != nil {
				if g.size > 0 && ctx.Err() == nil {
					break // what was found is told first
				}
				return nil, err
			}
			k.shared.served[fromKafka].Add(float64(g.size - before))
			if g.size == before {
				break
			}
			continue
		}
		whole, err := g.add(p)
		if err != nil {
			return nil, err
		}
		k.shared.served[v.origin].Add(float64(g.size - before))
		if !whole {
			break
		}
	}
	return g, nil
}

// maxRanges is how many answers of Kafka are read at most once something was found.
const maxRanges = 16

// fromTopic adds what the topic has from the gathering's position on, up to a piece of the view. It finds nothing only
// if no more has room.
func (k *Keeper) fromTopic(ctx context.Context, v *view, g *gathering) error {
	select {
	case k.shared.turns <- struct{}{}:
		defer func() { <-k.shared.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	offset, ok := v.marks.find(g.next)
	if !ok {
		return errGone
	}
	size := g.size
	for n := 0; offset < v.limit && (n < maxRanges || g.size == size); n++ {
		records, err := k.cfg.Log.Records(ctx, offset)
		if errors.Is(err, fetch.ErrRemoved) {
			return errGone
		}
		if err != nil {
			return fmt.Errorf("read streams at %d: %w", offset, err)
		}
		for _, rec := range records {
			offset = max(offset, rec.Offset+1)
			if string(rec.Key) != v.id || rec.Attrs.IsControl() {
				continue
			}
			c := parse(rec)
			if c == nil || c.Stream != v.name || c.Run != v.run || c.Dispatch != v.dispatch || c.Kind != v.kind ||
				c.End() <= g.next {
				continue
			}
			if c.From > g.next {
				return errGone
			}
			p := piece{c.From, c.End(), c.Value}
			whole, err := g.add(p)
			if err != nil || !whole || g.full() || g.next >= v.end {
				return err
			}
			if _, has := v.find(g.next); has {
				return nil
			}
		}
	}
	if g.size == size {
		return errGone
	}
	return nil
}

// length returns how long a value is: in bytes of text, or in values.
func length(kind job.StreamKind, value []byte) int64 {
	if kind == job.StreamText {
		return int64(len(value))
	}
	items, err := stream.Items(value)
	if err != nil {
		return 0
	}
	return int64(len(items))
}
