package api

import (
	"context"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// getActivity handles GET /v1/activity. The counts are of a whole tenant, so a token that may read only some of its
// jobs is refused.
func (ls *lists) getActivity(w http.ResponseWriter, r *http.Request) {
	id, _, tenant, ok := ls.ofTenant(w, r, auth.ReadTenant, tenantParam)
	if !ok {
		return
	}
	if s := id.Scope(auth.Read); len(s.Types)+len(s.Jobs) > 0 {
		ls.problem(w, frame.NewProblem(code.Forbidden,
			"these counts are of all jobs of a tenant, and the grant permits to read only some of them"))
		return
	}
	if err := ls.cfg.Limits.List(id.Tenant, id.Account()); err != nil {
		ls.problem(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ls.cfg.ReadTimeout)
	defer cancel()
	minute := time.Now().Unix() / 60
	told, err := ls.cfg.Trackers.Activity(ctx, tenant, minute)
	if err != nil {
		ls.problem(w, fleetProblem(err))
		return
	}
	ls.answer(w, shownActivity(told, minute))
}

// shownActivity returns what happened in the hour that ends with a minute, for clients.
func shownActivity(told *trackerpb.ActivityResponse, minute int64) frame.Activity {
	a := frame.Activity{
		From: time.Unix((minute-frame.ActivityMinutes+1)*60, 0).UTC(), Since: unixTime(told.Since),
		Lanes: []frame.LaneActivity{}, Truncated: told.Short, AsOf: unixTime(told.AsOf),
	}
	for _, l := range told.Lanes {
		a.Lanes = append(a.Lanes, frame.LaneActivity{Lane: l.Lane, Accepted: anHour(l.Accepted),
			Completed: anHour(l.Completed), Failed: anHour(l.Failed), Cancelled: anHour(l.Cancelled)})
	}
	return a
}

// anHour returns the numbers of an hour's minutes. Those that a tracker has not told of are zero.
func anHour(n []int64) []int64 {
	hour := make([]int64, frame.ActivityMinutes)
	copy(hour, n)
	return hour
}
