package shard

import (
	"maps"
	"slices"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/watch"
)

// ListWatch is a list that a stream watches: what its handle stands for.
type ListWatch struct {
	Handle uint32
	// Query selects the jobs; only what Matches looks at has an effect.
	Query store.Query
}

// listKey names one list of one stream.
type listKey struct {
	stream *watch.Stream
	handle uint32
}

// lists are the lists that streams watch, by the tenant of their jobs: a change is compared with each list of its
// tenant, of which a stream may have watch.MaxTenantLists. Owned by the shard's goroutine.
type lists struct {
	tenants map[string]map[listKey]*store.Query
	streams map[*watch.Stream]map[uint32]string // the tenant of each list
}

func newLists() lists {
	return lists{
		tenants: map[string]map[listKey]*store.Query{}, streams: map[*watch.Stream]map[uint32]string{},
	}
}

func (l *lists) add(stream *watch.Stream, w ListWatch) {
	tenant := w.Query.Tenant
	if l.tenants[tenant] == nil {
		l.tenants[tenant] = map[listKey]*store.Query{}
	}
	l.tenants[tenant][listKey{stream, w.Handle}] = &w.Query
	if l.streams[stream] == nil {
		l.streams[stream] = map[uint32]string{}
	}
	l.streams[stream][w.Handle] = tenant
}

func (l *lists) remove(stream *watch.Stream, handle uint32) {
	tenant, ok := l.streams[stream][handle]
	if !ok {
		return
	}
	delete(l.streams[stream], handle)
	if len(l.streams[stream]) == 0 {
		delete(l.streams, stream)
	}
	delete(l.tenants[tenant], listKey{stream, handle})
	if len(l.tenants[tenant]) == 0 {
		delete(l.tenants, tenant)
	}
}

func (l *lists) leave(stream *watch.Stream) {
	for handle := range l.streams[stream] {
		l.remove(stream, handle)
	}
}

// of returns the handles of a stream's lists.
func (l *lists) of(stream *watch.Stream) []uint32 {
	return slices.Collect(maps.Keys(l.streams[stream]))
}

// followLists has a stream told of the jobs of some lists.
func (a *audience) followLists(stream *watch.Stream, adds []ListWatch) {
	if stream.Closed() { // a stream that leaves is closed first
		return
	}
	handles := make([]uint32, 0, len(adds))
	for _, w := range adds {
		a.lists.add(stream, w)
		handles = append(handles, w.Handle)
	}
	if a.catching.ready.Load() {
		a.cover(stream, nil, handles, false)
	}
}

// listed tells those who watch lists that an entry's job has changed from what it was, which is nil for a new one: that
// it is in a list, or has left it. While the shard catches up it tells nobody, as followers does.
func (a *audience) listed(e *entry, was *fold.Job) {
	if len(a.lists.tenants) == 0 || !a.catching.ready.Load() {
		return
	}
	if was != nil && (e.job == nil || e.job.Tenant != was.Tenant) {
		a.tellLists(e, was, nil)
		was = nil
	}
	if e.job != nil {
		a.tellLists(e, was, e.job)
	}
}

// tellLists compares a change of a job with each list of the job's tenant.
func (a *audience) tellLists(e *entry, was, now *fold.Job) {
	before, after := metaOf(was), metaOf(now)
	meta := after
	if meta == nil {
		meta = before
	}
	var in, left *trackerpb.ListChange // made when they are needed
	for key, q := range a.lists.tenants[meta.Tenant] {
		switch {
		case after != nil && q.Matches(after):
			if in == nil {
				in = listChange(e.document())
			}
			a.putList(key, in)
		case before != nil && q.Matches(before):
			if left == nil {
				// The event that has removed a job is behind its last version.
				left = &trackerpb.ListChange{JobId: e.id, Version: before.Version + 1, Left: true}
				if after != nil {
					left.Version = after.Version
				}
			}
			a.putList(key, left)
		}
	}
}

func listChange(j *trackerpb.Job) *trackerpb.ListChange {
	c := &trackerpb.ListChange{JobId: j.JobId, Version: j.Version}
	if len(j.Document) <= watch.MaxRow {
		c.Document = j.Document
	}
	return c
}

func (a *audience) putList(key listKey, c *trackerpb.ListChange) {
	switch key.stream.PutList(key.handle, c) {
	case watch.ListReplaced:
		a.metrics.listConflated.Inc()
	case watch.ListMissed:
		a.metrics.listMissed.Inc()
	case watch.StreamGone:
		a.lists.leave(key.stream)
	}
}
