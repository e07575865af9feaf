package upstream

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// MaxHeldJobs is how many jobs of a worker are told.
const MaxHeldJobs = 20

// Workers asks every tracker for the workers that it knows, and merges their answers. It tries again as List does.
func (u *Upstream) Workers(ctx context.Context) (*trackerpb.WorkersResponse, error) {
	all, err := scatter(ctx, u, func(c trackerpbconnect.TrackerClient, partitions []int32) (*trackerpb.WorkersResponse,
		error) {
		r, err := c.Workers(ctx, connect.NewRequest(&trackerpb.WorkersRequest{Partitions: partitions}))
		if err != nil {
			return nil, err
		}
		return r.Msg, nil
	})
	if err != nil {
		return nil, err
	}
	return mergeWorkers(all), nil
}

// Workers is Upstream.Workers of the present and the former system.
func (p *Pair) Workers(ctx context.Context) (*trackerpb.WorkersResponse, error) {
	if p.former == nil {
		return p.now.Workers(ctx)
	}
	both, err := askBoth(p, func(u *Upstream) (*trackerpb.WorkersResponse, error) { return u.Workers(ctx) })
	if err != nil {
		return nil, err
	}
	return mergeWorkers(both), nil
}

// mergeWorkers joins what trackers know of each worker and lane. A worker's last announcement counts.
func mergeWorkers(all []*trackerpb.WorkersResponse) *trackerpb.WorkersResponse {
	merged := &trackerpb.WorkersResponse{}
	workers, lanes := map[string]*trackerpb.Worker{}, map[string]*trackerpb.LaneWork{}
	for i, r := range all {
		if i == 0 || r.AsOf < merged.AsOf {
			merged.AsOf = r.AsOf
		}
		merged.Truncated = merged.Truncated || r.Truncated
		for _, w := range r.Workers {
			was := workers[w.Name]
			if was == nil {
				workers[w.Name] = w
				continue
			}
			if w.AnnouncedAt > was.AnnouncedAt {
				was.Announced, was.AnnouncedAt = w.Announced, w.AnnouncedAt
			}
			was.Running += w.Running
			was.Oldest = oldestOf(was.Oldest, w.Oldest)
		}
		for _, l := range r.Lanes {
			was := lanes[l.Lane]
			if was == nil {
				lanes[l.Lane] = l
				continue
			}
			was.Running += l.Running
			// Each tracker measures all lanes of its system.
			was.Measured, was.OldestWait = was.Measured || l.Measured, max(was.OldestWait, l.OldestWait)
		}
	}
	merged.Workers = slices.SortedFunc(maps.Values(workers), func(a, b *trackerpb.Worker) int {
		return strings.Compare(a.Name, b.Name)
	})
	merged.Lanes = slices.SortedFunc(maps.Values(lanes), func(a, b *trackerpb.LaneWork) int {
		return strings.Compare(a.Lane, b.Lane)
	})
	return merged
}

func oldestOf(a, b []*trackerpb.HeldJob) []*trackerpb.HeldJob {
	both := append(slices.Clip(a), b...)
	slices.SortFunc(both, func(a, b *trackerpb.HeldJob) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), strings.Compare(a.JobId, b.JobId))
	})
	return both[:min(len(both), MaxHeldJobs)]
}
