package gateway

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// heapInUse is what is in use once what nobody needs is gone.
func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // what pools kept goes with the second
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// complete makes jobs of a tenant that have ended with large results.
func (w *world) complete(tenant string, n, size int) (ids []string) {
	result := json.RawMessage(`"` + strings.Repeat("x", size) + `"`)
	w.tracker.mu.Lock()
	defer w.tracker.mu.Unlock()
	for i := range n {
		id := fmt.Sprintf("01a208fd-2dc6-7467-acd5-%012d", i)
		doc, err := json.Marshal(job.Document{
			JobID: id, Type: "demo.echo", State: job.Completed, Attempt: 1, MaxAttempts: 3, Result: result,
		})
		if err != nil {
			w.t.Fatal(err)
		}
		w.tracker.pushLocked(tenant, id, 7, doc, true)
		ids = append(ids, id)
	}
	return ids
}

func (g got) document(t *testing.T) (d job.Document) {
	t.Helper()
	if err := json.Unmarshal(g.Job, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func subscribe(ids []string) string {
	refs := make([]string, len(ids))
	for i, id := range ids {
		refs[i] = fmt.Sprintf(`{"jobId":%q}`, id)
	}
	return `{"type":"subscribe","id":"s","jobs":[` + strings.Join(refs, ",") + `]}`
}

// TestWhatNobodyReadsHoldsLittle has sockets and event streams ask for many jobs that have ended
// with large results, and read nothing: what waits for them is bounded in bytes, others do not
// feel it, and the memory is given back. One that reads is served all of it.
func TestWhatNobodyReadsHoldsLittle(t *testing.T) {
	const (
		jobs, size = 100, 60 << 10
		sockets    = 20
		streams    = 10
		bound      = 24 << 20 // 180 MB are asked for
	)
	configure := func(c *Config) {
		c.Waiting = WaitingConfig{Session: 256 << 10, Subject: 4 << 20, Tenant: 8 << 20, All: 8 << 20}
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		ids := w.complete("acme", jobs, size)
		tokens := []string{w.readerToken("acme", "ann"), w.readerToken("acme", "bob")}
		before := heapInUse()
		for i := range sockets {
			w.dial(tokens[i%2]).send("%s", subscribe(ids))
			time.Sleep(100 * time.Millisecond) // each is answered by itself
		}
		for i := range streams {
			conn, err := w.connect()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, "GET /v1/events?job=%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n\r\n",
				strings.Join(ids, "&job="), tokens[i%2])
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if grown := heapInUse() - before; grown > bound {
			t.Errorf("what nobody reads takes %d MB, want at most %d MB", grown>>20, bound>>20)
		}
		if waiting := w.gauge("ackwire_gateway_waiting_bytes"); waiting > 16<<20 {
			t.Errorf("%v bytes wait", waiting)
		}

		other := w.dial("")
		began := time.Now()
		other.submit()
		if took := time.Since(began); took > time.Second {
			t.Errorf("another tenant's submit took %s", took)
		}

		reader := w.dial(w.readerToken("acme", "eve"))
		reader.send("%s", subscribe(ids))
		reader.want("the answer comes first", frame.Subscribed)
		got := map[string]bool{}
		for len(got) < jobs {
			g := reader.want("a status", frame.Status)
			d := g.document(t)
			if got[d.JobID] || d.State != job.Completed {
				t.Fatalf("job %s comes as %s", d.JobID, d.State)
			}
			got[d.JobID] = true
		}
		reader.wantAlive("it was served all")

		w.eventually("those who read nothing are let go", func() bool {
			return w.gauge("ackwire_gateway_session_closes_total", "4000") == sockets &&
				w.gauge("ackwire_gateway_event_streams") == 0
		})
		if waiting := w.gauge("ackwire_gateway_waiting_bytes"); waiting != 0 {
			t.Errorf("%v bytes are not given back", waiting)
		}
		if n := w.gauge("ackwire_gateway_watched_jobs"); n > 2 {
			t.Errorf("%v jobs are watched", n)
		}
		if left := heapInUse() - before; left > 4<<20 {
			t.Errorf("%d KB are not given back", left>>10)
		}
	})
}

// TestOneAddPerJobInFlight has many sockets ask for one job while its tracker has not answered.
func TestOneAddPerJobInFlight(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Completed)
		w.tracker.hush()
		var clients []*client
		for range 30 {
			c := w.dial("")
			c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
			synctest.Wait()
			clients = append(clients, c)
		}
		w.tracker.speak()
		for _, c := range clients {
			c.want("the answer", frame.Subscribed)
			if d := c.want("the state", frame.Status).document(t); d.State != job.Completed {
				t.Errorf("it is %s", d.State)
			}
		}
		w.tracker.mu.Lock()
		defer w.tracker.mu.Unlock()
		if w.tracker.adds != 1 {
			t.Errorf("the tracker was asked %d times", w.tracker.adds)
		}
	})
}

// TestEventsOfLargeResults has an event stream that reads be served what there is no room for at
// once.
func TestEventsOfLargeResults(t *testing.T) {
	configure := func(c *Config) { c.Waiting.Session = 128 << 10 }
	inWorld(t, configure, func(t *testing.T, w *world) {
		ids := w.complete("local", 50, 60<<10)
		a := w.http(http.MethodGet, "/v1/events?job="+strings.Join(ids, "&job="), nil, nil)
		for _, id := range ids {
			if n := strings.Count(a.body, `"jobId":"`+id+`"`); n != 1 {
				t.Fatalf("job %s comes %d times", id, n)
			}
		}
	})
}

// TestUnreadListsHoldLittle has many connections of a user ask for pages of a megabyte and read
// nothing: those beyond its budget are turned away, and the memory is given back.
func TestUnreadListsHoldLittle(t *testing.T) {
	const asked, bound = 60, 24 << 20
	configure := func(c *Config) { c.Waiting.Subject, c.Limits.ListRate = 8<<20, 1000 }
	inWorld(t, configure, func(t *testing.T, w *world) {
		w.complete("acme", 16, 60<<10)
		header := "Authorization: Bearer " + w.readerToken("acme", "ann")
		before := heapInUse()
		for range asked {
			conn, err := w.connect()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, _ = fmt.Fprintf(conn, "GET /v1/jobs?limit=16 HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n", header)
			time.Sleep(50 * time.Millisecond)
		}
		if grown := heapInUse() - before; grown > bound {
			t.Errorf("pages that nobody reads take %d MB", grown>>20)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "list_bytes"); n < asked/2 {
			t.Errorf("%v were turned away", n)
		}
		time.Sleep(2 * time.Minute)
		w.eventually("they are cut off", func() bool { return w.gauge("ackwire_gateway_waiting_bytes") == 0 })
		if a := w.http(http.MethodGet, "/v1/jobs?limit=16", http.Header{
			"Authorization": {strings.TrimPrefix(header, "Authorization: ")}}, nil); a.status != 200 || len(a.body) < 16*60<<10 {
			t.Errorf("then a page is answered %d with %d bytes", a.status, len(a.body))
		}
	})
}

func TestListsAreLimited(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.ListRate = 5 }, func(t *testing.T, w *world) {
		taken := 0
		for i := range 50 {
			switch a := w.http(http.MethodGet, []string{"/v1/jobs?limit=1&updatedBefore=1971-01-01T00:00:00Z", "/v1/stats"}[i%2],
				nil, nil); {
			case a.status == 200:
				taken++
			case a.status != 429 || a.code != "rate_limited" || a.header.Get("Retry-After") == "":
				t.Fatalf("%d %v %s", a.status, a.header, a.body)
			}
		}
		w.tracker.mu.Lock()
		defer w.tracker.mu.Unlock()
		if asked := len(w.tracker.lists) + len(w.tracker.stats); taken != 10 || asked != 10 {
			t.Errorf("%d were taken and the tracker was asked %d times, want a burst of 10", taken, asked)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "list_rate"); n != 40 {
			t.Errorf("%v were turned away", n)
		}
	})
}
