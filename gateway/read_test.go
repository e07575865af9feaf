package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// TestReadsOfAJobAreLimited reads jobs by all routes, as fast as it can: its user's questions that trackers hear are
// bounded, others do not feel it, and the user may come back when it is told to.
func TestReadsOfAJobAreLimited(t *testing.T) {
	const rate, burst = 10, 100
	inWorld(t, func(c *Config) { c.Limits.AskRate = rate }, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 5, job.Completed)
		w.tracker.mu.Lock()
		for range 4 { // whose own jobs are gone
			w.tracker.jobs[jobA].deliveries = append(w.tracker.jobs[jobA].deliveries, &trackerpb.Delivery{JobId: jobB,
				State: string(job.Completed)})
		}
		w.tracker.mu.Unlock()
		as := func(subject string) http.Header {
			return w.header("acme", subject, "read:tenant")
		}
		ann, before := as("ann"), w.tracker.gets.Load()
		refused := 0
		for range 100 {
			for _, path := range []string{"", "/why", "/result", "/deliveries"} {
				switch a := w.http(http.MethodGet, "/v1/jobs/"+jobA+path, ann, nil); {
				case a.status == http.StatusOK:
				case a.status == http.StatusTooManyRequests && a.code == "rate_limited" && a.header.Get("Retry-After") == "1" &&
					strings.Contains(a.body, "retryAfter"):
					refused++
				default:
					t.Fatalf("%s: %d %v %s", path, a.status, a.header, a.body)
				}
			}
		}
		if asked := w.tracker.gets.Load() - before; asked != burst {
			t.Errorf("its tracker was asked %d times, want a burst of %d", asked, burst)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "ask_rate"); refused < 300 || int(n) != refused {
			t.Errorf("%d were refused, %v are counted", refused, n)
		}
		if a := w.http(http.MethodGet, "/v1/jobs/"+jobA, as("bob"), nil); a.status != http.StatusOK {
			t.Errorf("another user: %d %s", a.status, a.body)
		}
		time.Sleep(time.Second)
		if a := w.http(http.MethodGet, "/v1/jobs/"+jobA, ann, nil); a.status != http.StatusOK {
			t.Errorf("later: %d %s", a.status, a.body)
		}
	})
}
