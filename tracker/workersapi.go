package tracker

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/keeper"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/workers"
)

// Bounds of one answer about workers. Those that hold jobs come before others.
const (
	maxWorkers     = 2000
	maxWorkerBytes = 2 << 20
	workersTenant  = "" // in whose turn it is made: operators have no tenant here
)

// Workers implements trackerpbconnect.TrackerHandler.
func (a *api) Workers(
	ctx context.Context, req *connect.Request[trackerpb.WorkersRequest],
) (*connect.Response[trackerpb.WorkersResponse], error) {
	shards, keepers, err := a.parts(req.Msg.Partitions)
	if err != nil {
		return nil, apiError(err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := a.lists.enter(ctx, workersTenant); err != nil {
		return nil, apiError(err)
	}
	defer a.lists.leave()
	held := make([]shard.Holdings, len(shards))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range shards {
		g.Go(func() (err error) {
			held[i], err = s.Holdings(ctx)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, apiError(err)
	}
	var known []workers.Known
	now := time.Now()
	for _, k := range keepers {
		known = append(known, k.Workers(now)...)
	}
	return connect.NewResponse(workersResponse(held, known, a.waits.Load(), now)), nil
}

// parts returns the shards and keepers of partitions, all of which must be owned.
func (a *api) parts(partitions []int32) (shards []*shard.Shard, keepers []*keeper.Keeper, err error) {
	if sorted := slices.Sorted(slices.Values(partitions)); len(partitions) == 0 ||
		len(slices.Compact(sorted)) < len(partitions) {
		return nil, nil, connect.NewError(connect.CodeInvalidArgument, errPartitions)
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	for _, p := range partitions {
		s, err := a.shardLocked(p)
		if err != nil {
			return nil, nil, err
		}
		shards, keepers = append(shards, s), append(keepers, a.keepers[p])
	}
	return shards, keepers, nil
}

// workersResponse joins what workers hold and what they have announced.
func workersResponse(
	held []shard.Holdings, known []workers.Known, waits *map[string]time.Time, now time.Time,
) *trackerpb.WorkersResponse {
	response := &trackerpb.WorkersResponse{}
	holdings, lanes := map[string]shard.Holding{}, map[string]*trackerpb.LaneWork{}
	lane := func(name string) *trackerpb.LaneWork {
		if lanes[name] == nil {
			lanes[name] = &trackerpb.LaneWork{Lane: name}
		}
		return lanes[name]
	}
	var asOf time.Time
	for i, h := range held {
		if i == 0 || h.AsOf.Before(asOf) {
			asOf = h.AsOf
		}
		response.Truncated = response.Truncated || h.More
		for _, w := range h.Workers {
			if was, ok := holdings[w.Worker]; ok {
				w = was.Merge(w)
			}
			holdings[w.Worker] = w
		}
		for name, n := range h.Lanes {
			lane(name).Running += n
		}
	}
	if waits != nil {
		for name, since := range *waits {
			l := lane(name)
			l.Measured, l.OldestWait = true, waited(since, now).Milliseconds()
		}
	}
	all := map[string]*trackerpb.Worker{}
	for name, h := range holdings {
		if !fleet.ValidName(name) {
			continue // events of such a worker are refused
		}
		all[name] = &trackerpb.Worker{Name: name, Running: int64(h.Jobs), Oldest: heldJobs(h.Oldest)}
	}
	for _, k := range known {
		w := all[k.Name]
		if w == nil {
			w = &trackerpb.Worker{Name: k.Name}
			all[k.Name] = w
		}
		if at := k.Seen.UnixMilli(); at >= w.AnnouncedAt {
			w.Announced, w.AnnouncedAt = k.Announced, at
		}
	}
	response.AsOf = asOf.UnixMilli()
	response.Lanes = slices.SortedFunc(maps.Values(lanes), func(a, b *trackerpb.LaneWork) int {
		return strings.Compare(a.Lane, b.Lane)
	})
	var cut bool
	response.Workers, cut = busiest(slices.Collect(maps.Values(all)), maxWorkers, maxWorkerBytes)
	response.Truncated = response.Truncated || cut
	return response
}

// busiest returns the workers sorted by name: if they are more than most, or more bytes than that, only those
// that hold most jobs, and true.
func busiest(all []*trackerpb.Worker, most, bytes int) (kept []*trackerpb.Worker, cut bool) {
	slices.SortFunc(all, func(a, b *trackerpb.Worker) int {
		return cmp.Or(cmp.Compare(b.Running, a.Running), strings.Compare(a.Name, b.Name))
	})
	size := 0
	for i, w := range all {
		size += workerSize(w)
		if i == most || i > 0 && size > bytes {
			all, cut = all[:i], true
			break
		}
	}
	slices.SortFunc(all, func(a, b *trackerpb.Worker) int { return strings.Compare(a.Name, b.Name) })
	return all, cut
}

// workerSize returns about how many bytes a worker is in an answer.
func workerSize(w *trackerpb.Worker) int {
	const fixed = 64
	size := fixed + len(w.Name) + len(w.Announced)
	for _, h := range w.Oldest {
		size += fixed + len(h.JobId) + len(h.Tenant) + len(h.Type) + len(h.Lane) + len(h.Stage)
	}
	return size
}

func heldJobs(holds []shard.Hold) []*trackerpb.HeldJob {
	all := make([]*trackerpb.HeldJob, len(holds))
	for i, h := range holds {
		all[i] = &trackerpb.HeldJob{JobId: h.JobID, Tenant: h.Tenant, Type: h.Type, Lane: h.Lane,
			Attempt: int32(h.Attempt), Since: h.Since.UnixMilli(), LastSign: h.LastSign.UnixMilli(), Percent: h.Percent,
			Stage: h.Stage}
		if !h.Progressed.IsZero() {
			all[i].Progressed = h.Progressed.UnixMilli()
		}
	}
	return all
}
