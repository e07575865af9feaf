package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

var pastEvents = []*trackerpb.HistoryEvent{
	{Offset: 3, At: 1_767_323_000_000, Type: "accepted", Subject: "alice", Verdict: trackerpb.HistoryEvent_APPLIED,
		State: "pending", Attempt: 1},
	{Offset: 7, At: 1_767_323_001_000, Type: "progress", Run: "r1", Worker: "w1", Dispatch: 1,
		Progress: []byte(`{"percent":4}`), Verdict: trackerpb.HistoryEvent_REFUSED, Reason: "wrong_run",
		Detail: "Another run held the job.", State: "processing", Attempt: 1},
	{Offset: 9, At: 1_767_323_002_000, Verdict: trackerpb.HistoryEvent_REFUSED, Reason: "unreadable", State: "processing"},
}

// TestHistoryOverHTTP: the events come in pages as the tracker tells them, with who wrote each.
func TestHistoryOverHTTP(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.tracker.set("local", jobB, 7, job.Processing)
		w.tracker.mu.Lock()
		w.tracker.past.events = pastEvents
		w.tracker.mu.Unlock()
		path := "/v1/jobs/" + jobA + "/history"
		a := w.http("GET", path, nil, nil)
		want := `{"jobId":"` + jobA + `","events":[` +
			`{"offset":3,"at":"2026-01-02T03:03:20Z","type":"accepted","by":"gateway","subject":"alice","applied":true,` +
			`"state":"pending","attempt":1},` +
			`{"offset":7,"at":"2026-01-02T03:03:21Z","type":"progress","by":"worker","worker":"w1","run":"r1","dispatch":1,` +
			`"progress":{"percent":4},"applied":false,"reason":"wrong_run","detail":"Another run held the job.",` +
			`"state":"processing","attempt":1},` +
			`{"offset":9,"at":"2026-01-02T03:03:22Z","applied":false,"reason":"unreadable","state":"processing"}],` +
			`"asOf":"2026-01-02T03:04:05.678Z"}`
		if a.status != 200 || strings.TrimSpace(a.body) != want {
			t.Errorf("%d %s", a.status, a.body)
		}
		var page frame.History
		for i, query := 0, "?limit=1"; i < len(pastEvents); i++ {
			a = w.http("GET", path+query, nil, nil)
			page = frame.History{}
			if err := json.Unmarshal([]byte(a.body), &page); err != nil || len(page.Events) != 1 ||
				page.Events[0].Offset != pastEvents[i].Offset || (page.NextCursor == "") != (i == len(pastEvents)-1) {
				t.Fatalf("page %d: %d %s", i, a.status, a.body)
			}
			query = "?limit=1&cursor=" + page.NextCursor
			if i > 0 {
				continue
			}
			if b := w.http("GET", "/v1/jobs/"+jobB+"/history"+query, nil, nil); b.code != "invalid_frame" {
				t.Errorf("a cursor of another job: %d %s", b.status, b.body)
			}
		}
		for _, query := range []string{"?limit=0", "?limit=1001", "?limit=x", "?cursor=x", "?cursor=", "?from=1",
			"?cursor=" + strings.Repeat("A", 600), "?limit=1&limit=2"} {
			if a := w.http("GET", path+query, nil, nil); a.status != 400 || a.code != "invalid_frame" {
				t.Errorf("%s: %d %s", query, a.status, a.body)
			}
		}
		w.tracker.mu.Lock()
		w.tracker.past.truncated, w.tracker.past.events = true, []*trackerpb.HistoryEvent{{Offset: 5, Type: "beat"}}
		w.tracker.mu.Unlock()
		a = w.http("GET", path, nil, nil)
		if !strings.Contains(a.body, `"truncated":true,"earliest":"2026-01-02T03:03:20Z"`) ||
			!strings.Contains(a.body, `"applied":null`) {
			t.Errorf("truncated: %d %s", a.status, a.body)
		}
	})
}

// TestPayloadOverHTTP: the payload is served as it was sent, from Kafka or from the blob store, and one that is gone
// has its own code.
func TestPayloadOverHTTP(t *testing.T) {
	url, err := blobs.Dir(t.TempDir() + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(c *Config) { c.Blobs.URL = url }, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		path := "/v1/jobs/" + jobA + "/payload"
		store, err := blobs.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		key := "payloads/" + jobA + "/life1/abc"
		if err := store.Put(t.Context(), key, "application/json", "", strings.NewReader(`{"large":1}`)); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			has    *trackerpb.PayloadResponse
			status int
			want   string
		}{
			{&trackerpb.PayloadResponse{Payload: []byte(`{"a" : 1e2}`)}, 200, `{"a" : 1e2}`},
			{&trackerpb.PayloadResponse{Blob: key}, 200, `{"large":1}`},
			{&trackerpb.PayloadResponse{Blob: key + "x"}, 410, "payload_gone"},
			{&trackerpb.PayloadResponse{Gone: true}, 410, "payload_gone"},
			{&trackerpb.PayloadResponse{Blob: "payloads/" + jobB + "/abc"}, 500, "internal"},
		} {
			w.tracker.mu.Lock()
			w.tracker.past.payload = c.has
			w.tracker.mu.Unlock()
			a := w.http("GET", path, nil, nil)
			if a.status != c.status || !strings.Contains(a.body, c.want) {
				t.Errorf("%v: %d %s", c.has, a.status, a.body)
			}
			if c.status == 200 && (a.body != c.want || a.header.Get("Content-Type") != "application/json" ||
				a.header.Get("Content-Security-Policy") != "sandbox; default-src 'none'") {
				t.Errorf("%v: %v %s", c.has, a.header, a.body)
			}
		}
		if a := w.http("GET", path+"?x=1", nil, nil); a.code != "invalid_frame" {
			t.Errorf("a query: %d %s", a.status, a.body)
		}
	})
}

// TestPayloadsOfOthersAreAudited: reading what another has submitted leaves a record, one's own none.
func TestPayloadsOfOthersAreAudited(t *testing.T) {
	inWorld(t, withGrants(t), func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Processing)
		path := "/v1/jobs/" + jobA + "/payload"
		read := func(request, tenant, who string, permissions ...string) int {
			return w.http("GET", path, w.named(request, tenant, who, permissions...), nil).status
		}
		for _, c := range []struct {
			got, want int
		}{
			{read("r1", "acme", testSubject, "read", "payloads"), http.StatusOK},
			{read("r2", "acme", testSubject, "read"), http.StatusForbidden},
			{read("r3", "acme", "bob", "read:tenant"), http.StatusForbidden},
			{read("r4", "acme", "bob", "read", "payloads"), http.StatusNotFound},
			{read("r5", "acme", "bob", "read:tenant", "payloads"), http.StatusOK},
			{read("r6", "ops", "root", "operate"), http.StatusForbidden},
			{read("r7", "ops", "root", "operate", "payloads"), http.StatusOK},
		} {
			if c.got != c.want {
				t.Errorf("got %d, want %d", c.got, c.want)
			}
		}
		w.tracker.mu.Lock()
		w.tracker.past.payload = &trackerpb.PayloadResponse{Gone: true}
		w.tracker.mu.Unlock()
		read("r8", "ops", "root", "operate", "payloads")
		want := []string{
			"r5 acme/bob/id-of-bob payload ok of=acme/alice job=true jobs=0 type=demo.echo",
			"r7 ops/root/id-of-root payload ok of=acme/alice job=true jobs=0 type=demo.echo",
			"r8 ops/root/id-of-root payload payload_gone of=acme/alice job=true jobs=0 type=demo.echo",
		}
		w.eventually("all are written", func() bool { return len(w.audited()) == len(want) })
		for _, line := range want {
			if got := strings.Join(w.audited(), "\n"); !strings.Contains(got, line) {
				t.Errorf("%s is not among\n%s", line, got)
			}
		}
	})
}

// TestPastsAreLimited: histories and payloads cost as much as lists, and count as such.
func TestPastsAreLimited(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.ListRate = 5 }, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		for _, path := range []string{"/history", "/payload"} {
			refused := 0
			for range 30 {
				a := w.http("GET", "/v1/jobs/"+jobA+path, nil, nil)
				switch {
				case a.status == http.StatusOK:
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
