package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Activity implements trackerpbconnect.TrackerHandler: in the last minute one job was made in the tenant's own lane.
func (f *fakeTracker) Activity(
	_ context.Context, r *connect.Request[trackerpb.ActivityRequest],
) (*connect.Response[trackerpb.ActivityResponse], error) {
	f.fleet.mu.Lock()
	defer f.fleet.mu.Unlock()
	if f.fleet.refuse != 0 {
		return nil, connect.NewError(f.fleet.refuse, errors.New("refused"))
	}
	made := make([]int64, frame.ActivityMinutes)
	made[len(made)-1] = 1
	return connect.NewResponse(&trackerpb.ActivityResponse{
		Lanes: []*trackerpb.LaneActivity{{Lane: "lane-of-" + r.Msg.Tenant, Accepted: made}},
		Since: r.Msg.Now * 60_000, AsOf: r.Msg.Now * 60_000,
	}), nil
}

// TestActivity: who may read all jobs of a tenant is told what happened to them, minute by minute, and nobody else.
func TestActivity(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		for _, tc := range []struct {
			who    string
			as     http.Header
			query  string
			status int
			tenant string
		}{
			{"a user", w.header("acme", "alice", "read"), "", 403, ""},
			{"a reader", w.header("acme", "carol", "read", "read:tenant"), "", 200, "acme"},
			{"a reader of another tenant", w.header("acme", "carol", "read", "read:tenant"), "?tenant=umbrella", 403, ""},
			{"an operator", w.header("ops", "olga", "operate"), "?tenant=umbrella", 200, "umbrella"},
			{"a submitter", w.header("acme", "sue", "submit"), "", 403, ""},
			{"a grant for a job", authorized(w.grant(time.Hour, "read:tenant read", jobA)), "", 403, ""},
			{"nobody", http.Header{}, "", 401, ""},
			{"an operator", w.header("ops", "olga", "operate"), "?tenant=", 400, ""},
			{"an operator", w.header("ops", "olga", "operate"), "?lane=default", 400, ""},
		} {
			got := w.http("GET", "/v1/activity"+tc.query, tc.as, nil)
			if got.status != tc.status {
				t.Errorf("%s, %q: %d %s", tc.who, tc.query, got.status, got.body)
			}
			if tc.status != http.StatusOK {
				continue
			}
			var a frame.Activity
			if err := json.Unmarshal([]byte(got.body), &a); err != nil {
				t.Fatal(err)
			}
			last := frame.ActivityMinutes - 1
			if len(a.Lanes) != 1 || a.Lanes[0].Lane != "lane-of-"+tc.tenant || a.Lanes[0].Accepted[last] < 1 ||
				len(a.Lanes[0].Failed) != frame.ActivityMinutes ||
				!a.From.Equal(time.Now().Truncate(time.Minute).Add(-59*time.Minute)) {
				t.Errorf("%s: %s", tc.who, got.body)
			}
		}
	})
}

// TestActivityOfEarlierTrackers: a tracker that cannot count is no error of the client.
func TestActivityOfEarlierTrackers(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.fleet.refuse = connect.CodeUnimplemented
		got := w.http("GET", "/v1/activity", nil, nil)
		if got.status != http.StatusServiceUnavailable || !strings.Contains(got.body, "earlier release") {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}
