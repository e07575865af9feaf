package shard

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// Overlay is what a shard's memory has of a tenant's jobs and the store may not: the two
// together answer lists and counts.
type Overlay struct {
	AsOf   time.Time
	Closed bool // the partition is closed

	part      *store.Partition
	next      int64 // position of the overlay
	flushedTo int64 // position of the checkpoint that was being written
	changed   []changed
}

// changed is a job in three states: as the store had it, as the checkpoint that was being
// written has it, and as it is.
type changed struct {
	id               string
	saved            *store.Meta
	flushing         bool
	flushed, current *fold.Job
}

// Overlay returns what the shard knows beyond its store, once it has folded the log up to version least.
func (s *Shard) Overlay(ctx context.Context, tenant string, least int64) (*Overlay, error) {
	reply := make(chan answer[*Overlay], 1)
	a := &ask{ctx: ctx, min: least}
	a.fail = func(err error) { reply <- answer[*Overlay]{err: err} }
	a.reached = func() { reply <- answer[*Overlay]{value: s.overlay(tenant)} }
	return await(ctx, s, reply, func() { s.questions.resolve(a) })
}

func (s *Shard) overlay(tenant string) *Overlay {
	o := &Overlay{
		AsOf: s.clock.fresh.asOf, Closed: s.pos.closed(), part: s.jobs.store, next: s.pos.next,
		flushedTo: s.saving.flushedTo,
	}
	add := func(e *entry, flushing bool, flushed *fold.Job) {
		if flushed.Erased() {
			flushed = nil
		}
		c := changed{id: e.id, flushing: flushing, flushed: flushed, current: e.job}
		if e.saved != nil {
			c.saved = &e.saved.Meta
		}
		if c.saved != nil && c.saved.Tenant == tenant || c.current != nil && c.current.Tenant == tenant {
			o.changed = append(o.changed, c)
		}
	}
	for i, e := range s.saving.flushing {
		add(e, true, s.saving.flushed[i].Job)
	}
	for _, e := range s.saving.dirty {
		if !e.flushing {
			add(e, false, nil)
		}
	}
	return o
}

// List answers a query from several shards' overlays and their store.
func List(st *store.Store, q store.Query, overlays []*Overlay) (page store.Page, err error) {
	r := st.NewReader() // later than every overlay
	defer func() { err = errors.Join(err, r.Close()) }()
	parts := make([]*store.Partition, len(overlays))
	var fresh []store.Fresh
	for i, o := range overlays {
		parts[i] = o.part
		at, err := r.Position(o.part)
		if err != nil {
			return page, err
		}
		if at >= o.next {
			continue // the store has it all by now
		}
		for _, c := range o.changed {
			f := store.Fresh{ID: c.id}
			if c.current != nil {
				m := store.MetaOf(c.current)
				f.Meta, f.Doc = &m, c.current.Document
				f.Round = func() (int, error) { return c.current.Round, nil }
			}
			fresh = append(fresh, f)
		}
	}
	return r.List(q, parts, fresh)
}

// Stats counts the jobs that q selects by its tenant, subjects, types, tags and IDs, in several shards' overlays and
// their store.
//
// Where q selects all jobs of the tenant the counters of the store answer; else its jobs are looked at.
func Stats(st *store.Store, q store.Query, overlays []*Overlay) (counts map[store.Tuple]int64, err error) {
	r := st.NewReader() // later than every overlay
	defer func() { err = errors.Join(err, r.Close()) }()
	counts = map[store.Tuple]int64{}
	for _, o := range overlays {
		if q.IDs == nil && len(q.Subjects) == 0 && len(q.Types)+len(q.Tags) == 0 && !q.None {
			err = r.Counts(o.part, q.Tenant, counts)
		} else {
			err = r.OwnCounts(o.part, q, counts)
		}
		if err != nil {
			return nil, err
		}
		at, err := r.Position(o.part)
		if err != nil {
			return nil, err
		}
		if at >= o.next {
			continue
		}
		for _, c := range o.changed {
			was := c.saved
			if c.flushing && at >= o.flushedTo {
				was = metaOf(c.flushed)
			}
			if was != nil && q.Selects(c.id, was) {
				counts[store.TupleOf(was)]--
			}
			if now := metaOf(c.current); now != nil && q.Selects(c.id, now) {
				counts[store.TupleOf(now)]++
			}
		}
	}
	return counts, nil
}

func metaOf(j *fold.Job) *store.Meta {
	if j == nil {
		return nil
	}
	m := store.MetaOf(j)
	return &m
}
