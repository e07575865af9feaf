package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// fakeFleet are the workers that a tracker of a test knows.
type fakeFleet struct {
	mu      sync.Mutex // guards the fields below
	workers *trackerpb.WorkersResponse
	about   *trackerpb.AboutResponse
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

func announced(t *testing.T, a fleet.Announcement) []byte {
	t.Helper()
	a.StartedAt = time.UnixMilli(1_700_000_000_000).UTC()
	value, err := fleet.Encode(&a)
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
			{Name: "announced", Announced: announced(t, fleet.Announcement{Worker: "announced", Version: "1.2.3",
				Lanes: []fleet.Lane{{Lane: "default", Slots: 8}, {Lane: "odd", Slots: 4, Yielded: true}},
				Paused: []fleet.Paused{{Tenant: "globex", Endpoint: "https://h.example/a", Until: time.UnixMilli(at),
					Failures: 7}}}), AnnouncedAt: at - 5000},
			{Name: "raw", Running: 21, Oldest: []*trackerpb.HeldJob{{JobId: jobA, Tenant: "globex", Type: "demo.echo",
				Lane: "default", Attempt: 2, Since: at - 60_000, LastSign: at - 1000, Progressed: at - 50_000, Percent: 40,
				Stage: "load"}}},
			{Name: "broken", Announced: []byte(`{"v":2}`), AnnouncedAt: at},
			{Name: "stopping", Announced: announced(t, fleet.Announcement{Worker: "stopping", Draining: true,
				Lanes: []fleet.Lane{{Lane: "default", Slots: 16}}}), AnnouncedAt: at},
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
				Announced: announced(t, fleet.Announcement{Worker: name,
					Lanes: []fleet.Lane{{Lane: fmt.Sprint("l", i), Slots: 1}}})})
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

func (f *fakeTracker) ListAudit(
	_ context.Context, r *connect.Request[trackerpb.ListAuditRequest],
) (*connect.Response[trackerpb.ListAuditResponse], error) {
	f.fleet.mu.Lock()
	defer f.fleet.mu.Unlock()
	if f.fleet.refuse != 0 {
		return nil, connect.NewError(f.fleet.refuse, errors.New("refused"))
	}
	if f.fleet.audit == nil {
		return connect.NewResponse(&trackerpb.ListAuditResponse{Off: true}), nil
	}
	page := &trackerpb.ListAuditResponse{}
	before := r.Msg.Before
	if before == 0 {
		before = int64(len(f.fleet.audit))
	}
	for ; before > 0 && len(page.Records) < int(r.Msg.Limit) && f.fleet.audit[before-1].At >= r.Msg.Since; before-- {
		page.Records = append(page.Records, f.fleet.audit[before-1])
	}
	if before > 0 && f.fleet.audit[before-1].At >= r.Msg.Since {
		page.Next = before
	}
	return connect.NewResponse(page), nil
}

// TestWebhooks: an operator finds the paused endpoints of all tenants, and the webhooks that failed, by endpoint and
// without what is secret in a URL.
func TestWebhooks(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		now := time.Now()
		pause := func(name string, paused ...fleet.Paused) *trackerpb.Worker {
			return &trackerpb.Worker{Name: name, AnnouncedAt: now.UnixMilli(),
				Announced: announced(t, fleet.Announcement{Worker: name, Paused: paused})}
		}
		until := now.Add(time.Minute).Truncate(time.Second).UTC()
		of := func(tenant, endpoint string, failures int) fleet.Paused {
			return fleet.Paused{Tenant: tenant, Endpoint: endpoint, Until: until, Failures: failures}
		}
		over := of("acme", "https://over.example", 9)
		over.Until = now.Add(-time.Second)
		w.tracker.fleet.workers = &trackerpb.WorkersResponse{AsOf: now.UnixMilli(), Workers: []*trackerpb.Worker{
			pause("a", of("globex", "https://h.example/a", 5), over), pause("b", of("globex", "https://h.example/a", 7)),
			{Name: "raw"}, pause("c", of("acme", "https://other.example", 5)),
		}}
		w.tracker.past.payload = &trackerpb.PayloadResponse{
			Payload: []byte(`{"url":"https://h.example/a?token=secret","body":{"secret":1}}`)}
		for i := range 60 {
			for tenant, mark := range map[string]string{"acme": "aaaa", "globex": "bbbb"} {
				made := now.Add(-time.Duration(i) * time.Second)
				w.tracker.put(tenant, made.UnixMilli(), "webhooks", "x", job.Document{
					JobID: fmt.Sprintf("019c1db0-01c0-7a54-9d8e-%s%08d", mark, i),
					Type:  "ackwire.webhook", State: job.Failed, CreatedAt: made, UpdatedAt: made,
					Error: &job.Error{Code: "webhook_rejected", Message: fmt.Sprint("answered ", 500+i)}})
			}
		}
		for _, words := range []string{"read", "read:tenant", "payloads", "submit"} {
			if a := w.http("GET", "/v1/webhooks", w.named("x", "acme", "bob", words), nil); a.code != "forbidden" {
				t.Errorf("with %s: %d %s", words, a.status, a.body)
			}
		}
		operator := w.named("r1", "acme", "carol", "operate")
		get := func(query string) (all frame.Webhooks) {
			t.Helper()
			a := w.http("GET", "/v1/webhooks"+query, operator, nil)
			if err := json.Unmarshal([]byte(a.body), &all); err != nil || a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if strings.Contains(a.body, "secret") || strings.Contains(a.body, "token") {
				t.Errorf("a secret in %s", a.body)
			}
			return all
		}
		all := get("")
		if len(all.Endpoints) != 3 || !all.Truncated || strings.Join(all.Tenants, " ") != "acme globex" {
			t.Fatalf("%+v", all)
		}
		first := all.Endpoints[0]
		if first.Tenant != "globex" || first.Endpoint != "https://h.example/a" || first.Failures != 7 || first.Failed != 50 ||
			!first.PausedUntil.Equal(until) || strings.Join(first.PausedBy, " ") != "a b" || len(first.Jobs) != 20 ||
			first.Jobs[0] != "019c1db0-01c0-7a54-9d8e-bbbb00000000" || first.LastError.Message != "answered 500" ||
			first.FirstAt.After(*first.LastAt) {
			t.Errorf("%+v", first)
		}
		if e := all.Endpoints[1]; e.Endpoint != "https://other.example" || e.Failed != 0 || e.PausedUntil == nil {
			t.Errorf("%+v", e)
		}
		if e := all.Endpoints[2]; e.Tenant != "acme" || e.PausedUntil != nil || e.Failed != 50 {
			t.Errorf("%+v", e)
		}
		all = get("?tenant=globex&since=" + now.Add(-10500*time.Millisecond).UTC().Format("2006-01-02T15:04:05.000Z"))
		if len(all.Endpoints) != 1 || all.Endpoints[0].Failed != 11 || all.Truncated {
			t.Errorf("of one tenant since a time: %+v", all)
		}
		w.tracker.past.payload = &trackerpb.PayloadResponse{Gone: true}
		all = get("?tenant=globex")
		if len(all.Endpoints) != 2 || all.Endpoints[1].Endpoint != "" || all.Endpoints[1].Failed != 60 {
			t.Errorf("with payloads that are gone: %+v", all)
		}
		for _, query := range []string{"?x=1", "?since=yesterday", "?tenant="} {
			if a := w.http("GET", "/v1/webhooks"+query, operator, nil); a.code != "invalid_frame" {
				t.Errorf("%s: %d %s", query, a.status, a.body)
			}
		}
	})
}

// TestAudit: an operator pages through the audit trail, the newest first; what is no record is counted, and not shown.
func TestAudit(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		operator := w.named("r1", "acme", "carol", "operate")
		if a := w.http("GET", "/v1/audit", operator, nil); a.body != `{"records":[],"off":true}` {
			t.Errorf("without a trail: %d %s", a.status, a.body)
		}
		for k := range 5 {
			value, err := audit.Encode(&audit.Record{At: time.UnixMilli(1_700_000_000_000).UTC(), Deed: audit.Cancelled,
				Outcome: audit.OK, Tenant: "globex", Subject: "<mallory>", JobID: jobA})
			if err != nil {
				t.Fatal(err)
			}
			if k == 2 {
				value = []byte(`{"v":1,"deed":"<script>"`)
			}
			w.tracker.fleet.audit = append(w.tracker.fleet.audit, &trackerpb.AuditRecord{Offset: int64(k),
				At: 1_700_000_000_000 + int64(k)*1000, Value: value})
		}
		for _, words := range []string{"read", "read:tenant", "payloads", "submit"} {
			if a := w.http("GET", "/v1/audit", w.named("x", "acme", "bob", words), nil); a.code != "forbidden" {
				t.Errorf("with %s: %d %s", words, a.status, a.body)
			}
		}
		var seen []string
		for query := "?limit=2"; query != ""; {
			a := w.http("GET", "/v1/audit"+query, operator, nil)
			var page frame.Audit
			if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 {
				t.Fatalf("%s: %d %s", query, a.status, a.body)
			}
			for _, e := range page.Records {
				seen = append(seen, e.ID)
				if e.Deed != audit.Cancelled || e.Subject != "<mallory>" || e.JobID != jobA {
					t.Errorf("record %+v", e)
				}
			}
			if page.Unreadable > 0 {
				seen = append(seen, "unreadable")
			}
			query = ""
			if page.NextCursor != "" {
				query = "?limit=2&cursor=" + page.NextCursor
			}
		}
		if got := strings.Join(seen, " "); got != "0-4 0-3 0-1 unreadable 0-0" {
			t.Errorf("records %s", got)
		}
		if a := w.http("GET", "/v1/audit?since=2023-11-14T22:13:23Z", operator, nil); strings.Count(a.body, `"id"`) != 2 {
			t.Errorf("since a time: %s", a.body)
		}
		for _, query := range []string{"?limit=0", "?limit=101", "?cursor=x", "?cursor=0-0", "?since=x", "?x=1"} {
			if a := w.http("GET", "/v1/audit"+query, operator, nil); a.code != "invalid_frame" {
				t.Errorf("%s: %d %s", query, a.status, a.body)
			}
		}
		w.tracker.fleet.refuse = connect.CodePermissionDenied
		a := w.http("GET", "/v1/audit", operator, nil)
		if a.code != "unavailable" || !strings.Contains(a.body, "permission") {
			t.Errorf("without the permission in Kafka: %d %s", a.status, a.body)
		}
	})
}

// TestFleetIsLimited: what operators ask for workers, webhooks and the audit trail counts as lists.
func TestFleetIsLimited(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.ListRate = 5 }, func(t *testing.T, w *world) {
		for _, path := range []string{"/v1/workers", "/v1/system", "/v1/webhooks", "/v1/audit", "/v1/activity"} {
			refused := 0
			for range 30 {
				switch a := w.http("GET", path, nil, nil); {
				case a.status == 200:
				case a.code == "rate_limited" && a.header.Get("Retry-After") != "":
					refused++
				default:
					t.Fatalf("%s: %d %s", path, a.status, a.body)
				}
			}
			if refused < 15 {
				t.Errorf("%s: %d of 30 are refused", path, refused)
			}
		}
	})
}
