package gateway

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestBadQueries: each is invalid_frame, and the detail names the parameter.
func TestBadQueries(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for i, id := range []string{jobA, jobB} {
			w.tracker.put("local", int64(5+i), "default", "", job.Document{JobID: id, State: job.Pending})
		}
		_, page := jobIDs(t, w.http("GET", "/v1/jobs?limit=1", nil, nil))
		good := page.NextCursor
		w.tracker.lists = nil
		bearer := http.Header{"Authorization": {"Bearer " + w.token("acme", "alice", time.Hour)}}
		for _, bad := range []struct {
			query, want string
			header      http.Header
		}{
			{"/v1/jobs?sort=asc", `"sort" is not a parameter here: tenant, state, type, lane`, nil},
			{"/v1/events?job=x", `job: "x" is not a job ID`, nil},
			{"/v1/jobs?State=pending", `"State" is not a parameter here`, nil},
			{"/v1/jobs?state=%zz", "the query could not be read", nil},
			{"/v1/jobs?state=a;type=b", "the query could not be read", nil},
			{"/v1/jobs?state=done", `state "done" is not a state: [pending scheduled`, nil},
			{"/v1/jobs?state=pending,", "state has an empty value", nil},
			{"/v1/jobs?type=", "type has an empty value", nil},
			{"/v1/jobs?type=" + strings.Repeat("x", 129), "type has a value of more than 128 bytes", nil},
			{"/v1/jobs?type=" + longList(101), "type has more than 100 values", nil},
			{"/v1/jobs?lane=a.b", `lane "a.b" is not the name of a lane`, nil},
			{"/v1/jobs?subject=alice&subject=", "subject has an empty value", nil},
			{"/v1/jobs?mine=yes", "mine must be true or false", nil},
			{"/v1/jobs?mine=true&mine=true", "mine is there 2 times", nil},
			{"/v1/jobs?createdAfter=yesterday", "createdAfter must be a time", nil},
			{"/v1/jobs?createdAfter=", "createdAfter must be a time", nil},
			{"/v1/jobs?createdBefore=2026-01-01", "createdBefore must be a time", nil},
			{"/v1/jobs?updatedAfter=1969-12-31T23:59:59Z", "updatedAfter must be after 1970", nil},
			{"/v1/jobs?updatedBefore=1970-01-01T00:00:00Z", "updatedBefore must be after 1970", nil},
			{
				"/v1/jobs?updatedBefore=2026-01-01T00:00:00Z&updatedBefore=2026-01-01T00:00:00Z",
				"updatedBefore is there 2 times", nil,
			},
			{"/v1/jobs?limit=0", "limit must be a number from 1 to 500", nil},
			{"/v1/jobs?limit=501", "limit must be a number from 1 to 500", nil},
			{"/v1/jobs?limit=ten", "limit must be a number from 1 to 500", nil},
			{"/v1/jobs?limit=", "limit must be a number from 1 to 500", nil},
			{"/v1/jobs?cursor=", "cursor is not one of this API", nil},
			{"/v1/jobs?cursor=%21%21", "cursor is not one of this API", nil},
			{"/v1/jobs?cursor=" + good[:10], "cursor is not one of this API", nil},
			{"/v1/jobs?cursor=" + good + "%0A", "cursor is not one of this API", nil},
			{"/v1/jobs?cursor=" + base64.RawURLEncoding.EncodeToString(make([]byte, 60)), "cursor is not one of this API", nil},
			{
				"/v1/jobs?cursor=" + base64.RawURLEncoding.EncodeToString(append([]byte{1}, make([]byte, 60)...)),
				"cursor is one of other filters", nil,
			},
			{"/v1/jobs?cursor=" + strings.Repeat("A", 1000), "cursor is not one of this API", nil},
			{"/v1/jobs?state=pending&cursor=" + good, "cursor is one of other filters", nil},
			{"/v1/jobs?cursor=" + good, "cursor is one of other filters, or of another tenant", bearer},
			{"/v1/stats?type=a", `"type" is not a parameter here: tenant, tag are`, nil},
			{"/v1/jobs/" + jobA + "/why?verbose=1", `"verbose" is not a parameter here: none is taken`, nil},
		} {
			a := w.http("GET", bad.query, bad.header, nil)
			var p frame.Problem
			if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != 400 || p.Code != "invalid_frame" ||
				!strings.HasPrefix(p.Detail, bad.want) {
				t.Errorf("%.80s: %d %s, want %s", bad.query, a.status, a.body, bad.want)
			}
		}
		if len(w.tracker.lists)+len(w.tracker.stats) != 0 {
			t.Error("a tracker was asked")
		}
		for _, path := range []string{"/v1/jobs", "/v1/stats", "/v1/jobs/" + jobA + "/why"} {
			if a := w.http("GET", path, http.Header{"Authorization": {"Bearer x"}}, nil); a.status != 401 {
				t.Errorf("%s with a bad token: %d", path, a.status)
			}
			if a := w.http("DELETE", path, nil, nil); a.status != 405 || !strings.HasPrefix(a.header.Get("Allow"), "GET, HEAD") {
				t.Errorf("DELETE %s: %d %v", path, a.status, a.header)
			}
		}
	})
}

func longList(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("t", i))
	}
	return strings.Join(all, ",")
}

// jobIDs are the jobs of a page.
func jobIDs(t *testing.T, a answer) (ids []string, page frame.JobList) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &page); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	for _, raw := range page.Jobs {
		var doc job.Document
		if err := json.Unmarshal(raw, &doc); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, doc.JobID)
	}
	return ids, page
}

func TestList(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.asOf = 1_767_323_045_678
		if a := w.http("GET", "/v1/jobs", nil, nil); a.body != `{"jobs":[],"asOf":"2026-01-02T03:04:05.678Z"}` {
			t.Errorf("no jobs: %d %s", a.status, a.body)
		}
		var want []string
		for i := range 7 {
			id := fmt.Sprintf("00000000-0000-7000-8000-%012d", i)
			want = append([]string{id}, want...)
			w.tracker.put("local", int64(100+i), "default", "alice", job.Document{JobID: id, Type: "demo.echo",
				State: job.Completed})
		}
		w.tracker.put("acme", 500, "default", "alice", job.Document{JobID: jobA, Type: "demo.echo", State: job.Completed})
		var got []string
		more, pages := "", 0
		for ; pages == 0 || more != ""; pages++ {
			ids, page := jobIDs(t, w.http("GET", "/v1/jobs?state=completed&limit=3"+more, nil, nil))
			got, more = append(got, ids...), ""
			if page.NextCursor != "" {
				more = "&cursor=" + page.NextCursor
			}
			if pages == 0 && string(page.Jobs[0]) != string(w.tracker.jobs[ids[0]].document) {
				t.Errorf("the document was changed: %s", page.Jobs[0])
			}
		}
		if !slices.Equal(got, want) || pages != 3 {
			t.Errorf("%d pages with %v, want %v", pages, got, want)
		}
		if ids, page := jobIDs(t, w.http("GET", "/v1/jobs?state=failed", nil, nil)); len(ids) != 0 || page.NextCursor != "" {
			t.Errorf("failed: %v", ids)
		}
		head := w.http("HEAD", "/v1/jobs?limit=2", nil, nil)
		if head.status != 200 || head.body != "" || head.header.Get("Content-Type") != "application/json" {
			t.Errorf("HEAD: %d %v %q", head.status, head.header, head.body)
		}
		for _, r := range w.tracker.lists {
			if r.Tenant != "local" || !slices.Equal(r.Partitions, []int32{0, 1, 2, 3}) {
				t.Errorf("asked for %v", r)
			}
		}
		if n := w.gauge("ackwire_gateway_http_requests_total", "list", "200"); n != 6 {
			t.Errorf("%v requests are counted", n)
		}
		acme := http.Header{"Authorization": {"Bearer " + w.token("acme", "alice", time.Hour)}}
		if ids, _ := jobIDs(t, w.http("GET", "/v1/jobs?mine=true", acme, nil)); !slices.Equal(ids, []string{jobA}) {
			t.Errorf("another tenant's: %v", ids)
		}
	})
}

// TestAListAfterAnAckHasTheJob, although the tracker lags: it is asked for the position.
func TestAListAfterAnAckHasTheJob(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.lag = time.Second
		c := w.dial("")
		for range 20 {
			ack := c.submit()
			ids, _ := jobIDs(t, w.http("GET", "/v1/jobs?limit=500", nil, nil))
			if !slices.Contains(ids, ack.JobID) {
				t.Fatalf("job %s is not in the list after its ack", ack.JobID)
			}
			c.want("its status", frame.Status)
		}
	})
}

// TestEveryTrackerIsAsked for its own partitions, and again when it says that it moved.
func TestEveryTrackerIsAsked(t *testing.T) {
	const otherAddr = "localhost:8091"
	inWorld(t, nil, func(t *testing.T, w *world) {
		other := w.addTracker("tracker-2", otherAddr)
		w.eventually("both are asked", func() bool {
			w.http("GET", "/v1/jobs", nil, nil)
			other.mu.Lock()
			defer other.mu.Unlock()
			return len(other.lists) > 0
		})
		var want []string
		for i := range 20 {
			doc := job.Document{JobID: fmt.Sprintf("00000000-0000-7000-8000-%012d", i), Type: "demo.echo", State: job.Completed}
			want = append([]string{doc.JobID}, want...)
			w.tracker.put("local", int64(100+i), "default", "", doc) // both know it; each answers for its partitions
			other.put("local", int64(100+i), "default", "", doc)
		}
		w.tracker.asOf, other.asOf = 2000, 1000
		w.tracker.refuse = []connect.Code{connect.CodeFailedPrecondition, connect.CodeUnavailable}
		w.tracker.lists, other.lists = nil, nil
		began := time.Now()
		ids, page := jobIDs(t, w.http("GET", "/v1/jobs", nil, nil))
		if !slices.Equal(ids, want) || page.AsOf.UnixMilli() != 1000 {
			t.Errorf("as of %s: %v", page.AsOf, ids)
		}
		if took := time.Since(began); took < 200*time.Millisecond || took > time.Second {
			t.Errorf("it took %s", took)
		}
		if len(w.tracker.lists) != 3 || len(other.lists) != 1 {
			t.Fatalf("asked %d and %d times, want 3 and 1", len(w.tracker.lists), len(other.lists))
		}
		all := slices.Concat(w.tracker.lists[2].Partitions, other.lists[0].Partitions)
		slices.Sort(all)
		if !slices.Equal(all, []int32{0, 1, 2, 3}) {
			t.Errorf("asked for partitions %v", all)
		}
	})
}

func TestListsWhenATrackerDoesNotAnswer(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, path := range []string{"/v1/jobs", "/v1/stats"} {
			w.tracker.refuseNext(connect.CodeInvalidArgument)
			if a := w.http("GET", path, nil, nil); a.status != 500 || a.code != "internal" {
				t.Errorf("%s that the tracker does not understand: %d %s", path, a.status, a.body)
			}
			w.tracker.hush()
			began := time.Now()
			a := w.http("GET", path, nil, nil)
			if took := time.Since(began); a.status != 503 || a.code != "unavailable" || a.header.Get("Retry-After") == "" ||
				took > w.gateway.cfg.Kafka.Bounds().Delivery+time.Second {
				t.Errorf("%s after %s: %d %s", path, took, a.status, a.body)
			}
			w.tracker.speak()
			w.tracker.refuseNext(slices.Repeat([]connect.Code{connect.CodeUnavailable}, 1000)...)
			if a := w.http("GET", path, nil, nil); a.status != 503 || a.code != "unavailable" {
				t.Errorf("%s while a tracker restores: %d %s", path, a.status, a.body)
			}
			w.tracker.refuseNext()
			if a := w.http("GET", path, nil, nil); a.status != 200 {
				t.Errorf("%s again: %d %s", path, a.status, a.body)
			}
		}
	})
}
