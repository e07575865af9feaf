package upstream

import (
	"context"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// Activity asks every tracker what happened to a tenant's jobs in the hour that ends with a minute (since the Unix
// epoch), and adds their answers up. It tries again as List does.
func (u *Upstream) Activity(ctx context.Context, tenant string, minute int64) (*trackerpb.ActivityResponse, error) {
	all, err := scatter(ctx, u, func(c trackerpbconnect.TrackerClient, partitions []int32) (*trackerpb.ActivityResponse,
		error) {
		r, err := c.Activity(ctx, connect.NewRequest(&trackerpb.ActivityRequest{Tenant: tenant, Partitions: partitions,
			Now: minute}))
		if err != nil {
			return nil, err
		}
		return r.Msg, nil
	})
	if err != nil {
		return nil, err
	}
	return mergeActivity(all), nil
}

// Activity is Upstream.Activity of the present and the former system.
func (p *Pair) Activity(ctx context.Context, tenant string, minute int64) (*trackerpb.ActivityResponse, error) {
	if p.former == nil {
		return p.now.Activity(ctx, tenant, minute)
	}
	both, err := askBoth(p, func(u *Upstream) (*trackerpb.ActivityResponse, error) {
		return u.Activity(ctx, tenant, minute)
	})
	if err != nil {
		return nil, err
	}
	return mergeActivity(both), nil
}

// mergeActivity adds up answers about the same minutes. They are whole from when the last of them is.
func mergeActivity(all []*trackerpb.ActivityResponse) *trackerpb.ActivityResponse {
	merged := &trackerpb.ActivityResponse{}
	lanes := map[string]*trackerpb.LaneActivity{}
	for i, r := range all {
		if i == 0 || r.AsOf < merged.AsOf {
			merged.AsOf = r.AsOf
		}
		merged.Since = max(merged.Since, r.Since)
		merged.Short = merged.Short || r.Short
		for _, l := range r.Lanes {
			sum := lanes[l.Lane]
			if sum == nil {
				lanes[l.Lane] = l
				merged.Lanes = append(merged.Lanes, l)
				continue
			}
			sum.Accepted, sum.Completed = added(sum.Accepted, l.Accepted), added(sum.Completed, l.Completed)
			sum.Failed, sum.Cancelled = added(sum.Failed, l.Failed), added(sum.Cancelled, l.Cancelled)
		}
	}
	slices.SortFunc(merged.Lanes, func(a, b *trackerpb.LaneActivity) int { return strings.Compare(a.Lane, b.Lane) })
	return merged
}

// added adds the counts of equal minutes, those of the shorter one as far as it goes.
func added(a, b []int64) []int64 {
	if len(a) < len(b) {
		a, b = b, a
	}
	for i, n := range b {
		a[i] += n
	}
	return a
}
