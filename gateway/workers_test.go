package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/worker"
)

// fakeFleet are the workers that a tracker of a test knows.
type fakeFleet struct {
	mu      sync.Mutex // guards the fields below
	workers *trackerpb.WorkersResponse
	audit   []*trackerpb.AuditRecord
	refuse  connect.Code // if set, questions are answered so
}

func (f *fakeTracker) Workers(
	_ context.Context, r *connect.Request[trackerpb.WorkersRequest],
) (*connect.Response[trackerpb.WorkersResponse], error) {
	f.fleet.mu.Lock()
	defer f.fleet.mu.Unlock()
	if f.fleet.refuse != 0 {
		return nil, connect.NewError(f.fleet.refuse, fmt.Errorf("refused"))
	}
	if f.fleet.workers == nil {
		return connect.NewResponse(&trackerpb.WorkersResponse{}), nil
	}
	return connect.NewResponse(f.fleet.workers), nil
}

func announced(t *testing.T, a worker.Announcement) []byte {
	t.Helper()
	a.StartedAt = time.UnixMilli(1_700_000_000_000).UTC()
	value, err := worker.Encode(&a)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestWorkers: only an operator sees the workers, with what they hold and have paused; a worker that has not announced
// itself is there, too.
func TestWorkers(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		at := int64(1_700_000_000_000)
		w.tracker.fleet.workers = &trackerpb.WorkersResponse{AsOf: at, Workers: []*trackerpb.Worker{
			{Name: "announced", Announced: announced(t, worker.Announcement{Worker: "announced", Version: "1.2.3",
				Lanes: []worker.Lane{{Lane: "default", Slots: 8}, {Lane: "odd", Slots: 4, Yielded: true}},
				Paused: []worker.Paused{{Tenant: "globex", Endpoint: "https://h.example/a", Until: time.UnixMilli(at),
					Failures: 7}}}), AnnouncedAt: at - 5000},
			{Name: "raw", Running: 21, Oldest: []*trackerpb.HeldJob{{JobId: jobA, Tenant: "globex", Type: "demo.echo",
				Lane: "default", Attempt: 2, Since: at - 60_000, LastSign: at - 1000, Progressed: at - 50_000, Percent: 40,
				Stage: "load"}}},
			{Name: "broken", Announced: []byte(`{"v":2}`), AnnouncedAt: at},
			{Name: "stopping", Announced: announced(t, worker.Announcement{Worker: "stopping", Draining: true,
				Lanes: []worker.Lane{{Lane: "default", Slots: 16}}}), AnnouncedAt: at},
		}, Lanes: []*trackerpb.LaneWork{{Lane: "default", Running: 21, Measured: true, OldestWait: 1500}}}
		for _, words := range []string{"read", "read:tenant", "payloads", "submit", "erase"} {
			if a := w.http("GET", "/v1/workers", w.named("x", "acme", "bob", words), nil); a.code != "forbidden" {
				t.Errorf("with %s: %d %s", words, a.status, a.body)
			}
		}
		operator := w.named("r1", "acme", "carol", "operate")
		a := w.http("GET", "/v1/workers", operator, nil)
		var got frame.Workers
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, want := range []string{
			`{"worker":"announced","announced":true,"lanes":[{"lane":"default","slots":8},{"lane":"odd","slots":4,"yielded":true}]`,
			`"version":"1.2.3","startedAt":"2023-11-14T22:13:20Z","seenAt":"2023-11-14T22:13:15Z","holds":[],"pausedEndpoints":[` +
				`{"tenant":"globex","endpoint":"https://h.example/a","until":"2023-11-14T22:13:20Z","failures":7}]`,
			`{"worker":"broken","announced":false,"lanes":[],"running":0,"seenAt":"2023-11-14T22:13:20Z","holds":[]}`,
			`{"worker":"raw","announced":false,"lanes":[],"running":21,"seenAt":"2023-11-14T22:13:19Z","holds":[{"jobId":"` + jobA +
				`","tenant":"globex","type":"demo.echo","lane":"default","attempt":2,"since":"2023-11-14T22:12:20Z",` +
				`"lastSign":"2023-11-14T22:13:19Z","progressAt":"2023-11-14T22:12:30Z","percent":40,"stage":"load"}]`,
			`"draining":true`, `"slots":8,"running":21,"waiting":0,"oldestWait":1.5}`, `"truncated":false`,
		} {
			if !strings.Contains(a.body, want) {
				t.Errorf("no %s in %s", want, a.body)
			}
		}
		if a := w.http("GET", "/v1/workers?x=1", operator, nil); a.code != "invalid_frame" {
			t.Errorf("an unknown parameter: %d %s", a.status, a.body)
		}
		w.tracker.fleet.refuse = connect.CodeUnimplemented
		if a := w.http("GET", "/v1/workers", operator, nil); a.code != "unavailable" ||
			!strings.Contains(a.body, "earlier release") {
			t.Errorf("of an earlier tracker: %d %s", a.status, a.body)
		}
	})
}

// TestManyWorkers: of more workers and lanes than an answer may have, those that hold most jobs are told, and that
// there are more.
func TestManyWorkers(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		told := &trackerpb.WorkersResponse{}
		for i := range 3000 {
			name := fmt.Sprintf("worker-%04d", i)
			told.Workers = append(told.Workers, &trackerpb.Worker{Name: name, Running: int64(i % 7), AnnouncedAt: 1,
				Announced: announced(t, worker.Announcement{Worker: name, Lanes: []worker.Lane{{Lane: fmt.Sprint("l", i), Slots: 1}}})})
		}
		w.tracker.fleet.workers = told
		a := w.http("GET", "/v1/workers", w.named("r1", "acme", "carol", "operate"), nil)
		var got frame.Workers
		if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 {
			t.Fatalf("%d %.300s", a.status, a.body)
		}
		if len(got.Workers) != 1000 || len(got.Lanes) != 100 || !got.Truncated {
			t.Fatalf("%d workers, %d lanes, truncated %t", len(got.Workers), len(got.Lanes), got.Truncated)
		}
		for i, one := range got.Workers {
			if one.Running < 4 || i > 0 && one.Worker <= got.Workers[i-1].Worker {
				t.Fatalf("worker %d is %+v", i, one)
			}
		}
	})
}
