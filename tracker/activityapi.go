package tracker

import (
	"context"
	"errors"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/activity"
)

var errNoTenant = errors.New("tenant is missing")

// Activity implements trackerpbconnect.TrackerHandler.
func (a *api) Activity(
	ctx context.Context, req *connect.Request[trackerpb.ActivityRequest],
) (*connect.Response[trackerpb.ActivityResponse], error) {
	m := req.Msg
	if m.Tenant == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument, errNoTenant)
	}
	shards, _, err := a.parts(m.Partitions)
	if err != nil {
		return nil, apiError(err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := a.lists.enter(ctx, m.Tenant); err != nil {
		return nil, apiError(err)
	}
	defer a.lists.leave()
	all := make([]activity.Recent, len(shards))
	times := make([]time.Time, len(shards))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range shards {
		g.Go(func() error {
			told, err := s.Activity(ctx, m.Tenant, time.Unix(m.Now*60, 0))
			all[i], times[i] = told.Recent, told.AsOf
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, apiError(err)
	}
	asOf := times[0]
	for _, t := range times {
		if t.Before(asOf) {
			asOf = t
		}
	}
	return connect.NewResponse(activityResponse(activity.Merge(all...), asOf)), nil
}

func activityResponse(r activity.Recent, asOf time.Time) *trackerpb.ActivityResponse {
	response := &trackerpb.ActivityResponse{Since: r.Since.UnixMilli(), Short: r.Short, AsOf: asOf.UnixMilli()}
	for _, name := range r.Names() {
		lane := &trackerpb.LaneActivity{Lane: name}
		for _, n := range r.Lanes[name] {
			lane.Accepted = append(lane.Accepted, int64(n[activity.Accepted]))
			lane.Completed = append(lane.Completed, int64(n[activity.Completed]))
			lane.Failed = append(lane.Failed, int64(n[activity.Failed]))
			lane.Cancelled = append(lane.Cancelled, int64(n[activity.Cancelled]))
		}
		response.Lanes = append(response.Lanes, lane)
	}
	return response
}
