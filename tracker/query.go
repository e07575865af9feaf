package tracker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
)

// Bounds of one list.
const (
	maxListLimit  = 500  // jobs
	maxBriefLimit = 2000 // jobs of a list without documents
	maxListFilter = 100  // values of one filter
)

// List implements trackerpbconnect.TrackerHandler.
func (a *api) List(
	ctx context.Context, req *connect.Request[trackerpb.ListRequest],
) (*connect.Response[trackerpb.ListResponse], error) {
	m := req.Msg
	q, err := listQuery(m)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	st, overlays, err := a.overlays(ctx, m.Tenant, m.Partitions, m.Fresh)
	if err != nil {
		return nil, apiError(err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := a.lists.enter(ctx, m.Tenant); err != nil {
		return nil, apiError(err)
	}
	var page store.Page
	err = a.read(st, func() (err error) {
		page, err = shard.List(st, q, overlays)
		return err
	})
	a.lists.leave()
	if err != nil {
		return nil, apiError(err)
	}
	response := &trackerpb.ListResponse{AsOf: asOf(overlays), Tagged: true}
	for _, j := range page.Jobs {
		response.Jobs = append(response.Jobs, &trackerpb.ListedJob{
			Job:     &trackerpb.Job{JobId: j.ID, Version: j.Version, Document: j.Doc, Terminal: j.Ended},
			Created: j.Created, Round: int64(j.Round)})
	}
	if page.Through != nil {
		response.Through = &trackerpb.Place{Created: page.Through.Created, JobId: page.Through.ID}
	}
	return connect.NewResponse(response), nil
}

// listQuery checks the request and returns the store's query for it.
func listQuery(m *trackerpb.ListRequest) (store.Query, error) {
	q, err := filterOf(m)
	if err != nil {
		return q, err
	}
	q.Limit, q.Brief = int(m.Limit), m.Brief
	most := maxListLimit
	if q.Brief {
		most = maxBriefLimit
	}
	if q.Limit < 1 || q.Limit > most {
		return q, fmt.Errorf("limit must be from 1 to %d, not %d", most, q.Limit)
	}
	if m.After != nil {
		q.After = &store.Place{Created: m.After.Created, ID: m.After.JobId}
	}
	return q, nil
}

// filterOf checks which jobs the request is about, and returns that as a query of the store.
func filterOf(m *trackerpb.ListRequest) (store.Query, error) {
	q := store.Query{
		Tenant: m.Tenant, Subjects: m.Subjects, Types: m.Types, Lanes: m.Lanes,
		CreatedFrom: m.CreatedFrom, CreatedBefore: m.CreatedBefore, UpdatedFrom: m.UpdatedFrom,
		UpdatedBefore: m.UpdatedBefore,
	}
	for name, n := range map[string]int{"subjects": len(m.Subjects), "states": len(m.States), "types": len(m.Types),
		"lanes": len(m.Lanes)} {
		if n > maxListFilter {
			return q, fmt.Errorf("%s must not have more than %d values", name, maxListFilter)
		}
	}
	for _, s := range m.States {
		if !job.State(s).Valid() {
			return q, fmt.Errorf("%q is not a state", s)
		}
		q.States = append(q.States, job.State(s))
	}
	tags, err := tagsOf(m.Tags)
	if err != nil {
		return q, err
	}
	q.Tags = tags
	limitTo(&q, m.Scope)
	return q, nil
}

// tagsOf checks the tags of a request, and returns each once.
func tagsOf(asked []*trackerpb.Tag) (tags []store.Tag, err error) {
	if len(asked) > job.MaxTagFilters {
		return nil, fmt.Errorf("tags must not have more than %d values", job.MaxTagFilters)
	}
	for _, t := range asked {
		if err := job.ValidateTag(t.GetKey(), t.GetValue()); err != nil {
			return nil, fmt.Errorf("tags: %w", err)
		}
		if tag := (store.Tag{Key: t.Key, Value: t.Value}); !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags, nil
}

// limitTo restricts a query to the jobs of a scope.
func limitTo(q *store.Query, s *trackerpb.Scope) {
	if s == nil {
		return
	}
	both := func(asked, allowed []string) []string {
		if len(asked) == 0 {
			return allowed
		}
		asked = slices.DeleteFunc(slices.Clone(asked), func(v string) bool { return !slices.Contains(allowed, v) })
		q.None = q.None || len(asked) == 0
		return asked
	}
	if s.Own {
		q.Subjects = both(q.Subjects, []string{s.Subject})
	}
	if len(s.Types) > 0 {
		q.Types = both(q.Types, s.Types)
	}
	if len(s.JobIds) > 0 {
		q.IDs = s.JobIds
	}
}

// Stats implements trackerpbconnect.TrackerHandler.
func (a *api) Stats(
	ctx context.Context, req *connect.Request[trackerpb.StatsRequest],
) (*connect.Response[trackerpb.StatsResponse], error) {
	m := req.Msg
	tags, err := tagsOf(m.Tags)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	st, overlays, err := a.overlays(ctx, m.Tenant, m.Partitions, m.Fresh)
	if err != nil {
		return nil, apiError(err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := a.lists.enter(ctx, m.Tenant); err != nil {
		return nil, apiError(err)
	}
	q := store.Query{Tenant: m.Tenant, Tags: tags}
	limitTo(&q, m.Scope)
	var counts map[store.Tuple]int64
	err = a.read(st, func() (err error) {
		counts, err = shard.Stats(st, q, overlays)
		return err
	})
	a.lists.leave()
	if err != nil {
		return nil, apiError(err)
	}
	response := &trackerpb.StatsResponse{AsOf: asOf(overlays), Tagged: true, Waits: laneWaits(a.waits.Load())}
	for _, o := range overlays {
		response.Closed = response.Closed || o.Closed
	}
	for t, n := range counts {
		if n != 0 {
			response.Counts = append(response.Counts, &trackerpb.Count{Type: t.Type, Lane: t.Lane, State: string(t.State),
				Jobs: n})
		}
	}
	return connect.NewResponse(response), nil
}

// laneWaits returns the lanes in which a request waits. That was measured before: see watchLanes.
func laneWaits(waits *map[string]time.Time) (all []*trackerpb.LaneWait) {
	if waits == nil {
		return nil
	}
	for lane, since := range *waits {
		if !since.IsZero() {
			all = append(all, &trackerpb.LaneWait{Lane: lane, Since: since.UnixMilli()})
		}
	}
	return all
}

var errPartitions = errors.New("partitions must name each partition that is asked for once")

// overlays returns the store and, for each partition, the shard's overlay: the tenant's jobs that have
// changed since the last checkpoint. It asks all shards at once and waits until each has folded as much
// as fresh demands.
func (a *api) overlays(
	ctx context.Context, tenant string, partitions []int32, fresh []*trackerpb.Freshness,
) (*store.Store, []*shard.Overlay, error) {
	if sorted := slices.Sorted(slices.Values(partitions)); tenant == "" || len(partitions) == 0 ||
		len(slices.Compact(sorted)) < len(partitions) {
		return nil, nil, connect.NewError(connect.CodeInvalidArgument, errPartitions)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	shards := make([]*shard.Shard, len(partitions))
	a.mu.RLock()
	st := a.store
	for i, p := range partitions {
		s, err := a.shardLocked(p)
		if err != nil {
			a.mu.RUnlock()
			return nil, nil, err
		}
		shards[i] = s
	}
	a.mu.RUnlock()
	overlays := make([]*shard.Overlay, len(partitions))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range shards {
		least := int64(0)
		for _, f := range fresh {
			if f.Partition == partitions[i] {
				least = max(least, f.MinVersion)
			}
		}
		g.Go(func() (err error) {
			overlays[i], err = s.Overlay(ctx, tenant, least)
			return err
		})
	}
	return st, overlays, g.Wait()
}

// asOf returns the time as of which all overlays are complete, the earliest of theirs, in Unix
// milliseconds.
func asOf(overlays []*shard.Overlay) int64 {
	var least time.Time
	for i, o := range overlays {
		if i == 0 || o.AsOf.Before(least) {
			least = o.AsOf
		}
	}
	return least.UnixMilli()
}
