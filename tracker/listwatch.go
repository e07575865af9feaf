package tracker

import (
	"context"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/watch"
)

// receiveLists adds and removes watched lists. It returns false after it has closed the stream because the gateway
// broke a bound, or asked for a list that List would refuse.
func (a *api) receiveLists(ctx context.Context, m *trackerpb.WatchRequest, stream *watch.Stream) bool {
	for _, handle := range m.RemoveLists {
		a.watched.Remove(stream, handle)
		stream.RemoveList(handle)
		for _, s := range a.owned() {
			s.UnwatchList(ctx, stream, handle)
		}
	}
	adds := listWatches(m.AddLists)
	if len(adds) < len(m.AddLists) {
		stream.Close()
		return false
	}
	for _, add := range m.AddLists {
		if add.Handle == 0 || !a.watched.Add(stream, add) {
			stream.Close()
			return false
		}
		stream.AddList(add.Handle)
	}
	if len(adds) > 0 {
		for _, s := range a.owned() {
			s.WatchLists(ctx, stream, adds...)
		}
	}
	return true
}

// listWatches returns the queries of lists, without those that List would refuse.
func listWatches(adds []*trackerpb.ListAdd) (all []shard.ListWatch) {
	for _, add := range adds {
		list := add.List
		if list == nil {
			continue
		}
		q, err := filterOf(list)
		if err != nil || q.Tenant == "" || q.IDs != nil { // a list of named jobs is watched job by job
			continue
		}
		all = append(all, shard.ListWatch{Handle: add.Handle, Query: q})
	}
	return all
}
