package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
)

// TestBulkRequests: what is counted is what the client may read and order, and what is wrong is said.
func TestBulkRequests(t *testing.T) {
	inWorld(t, func(c *Config) { tokensOnly(c); c.Bulk.Mode = BulkOn }, func(t *testing.T, w *world) {
		n := 0
		put := func(tenant, owner string, s job.State) {
			n++
			w.tracker.put(tenant, 1, "default", owner, job.Document{
				JobID: fmt.Sprintf("019c1db0-01c0-7a54-9d8e-%012d", n), Type: "demo.echo", State: s,
			})
		}
		for range 3 {
			put("acme", "alice", job.Failed)
		}
		put("acme", "alice", job.Completed)
		put("acme", "bob", job.Failed)
		put("acme", "bob", job.Pending)
		put("globex", "carol", job.Failed)
		post := func(who http.Header, body string) answer {
			h := who.Clone()
			h.Set("Content-Type", "application/json")
			return w.http("POST", "/v1/bulk", h, strings.NewReader(body))
		}
		alice := w.header("acme", "alice")
		tenant := w.header("acme", "alice", "submit", "read:tenant", "cancel:tenant")
		operator := w.header("acme", "root", "operate", "submit")
		for _, c := range []struct {
			what   string
			who    http.Header
			body   string
			counts int
		}{
			{"her own", alice, `{"action":"retry","filter":{},"preview":true}`, 3},
			{"completed too", alice, `{"action":"retry","filter":{"state":["failed","completed"]},"preview":true}`, 4},
			{"one may read others' and not order them", w.header("acme", "alice", "submit", "read:tenant"),
				`{"action":"retry","filter":{},"preview":true}`, 3},
			{"one may order others' and not read them", w.header("acme", "alice", "submit", "read", "cancel:tenant"),
				`{"action":"retry","filter":{},"preview":true}`, 3},
			{"the tenant's", tenant, `{"action":"retry","filter":{"state":"failed"},"preview":true}`, 4},
			{"those that wait", tenant, `{"action":"cancel","filter":{},"preview":true}`, 1},
			{"mine", tenant, `{"action":"retry","filter":{"mine":true},"preview":true}`, 3},
			{"an operator's tenant", operator, `{"action":"retry","filter":{},"preview":true}`, 4},
			{"another tenant", operator, `{"action":"retry","filter":{"tenant":"globex"},"preview":true}`, 1},
		} {
			a := post(c.who, c.body)
			if a.status != 200 || !strings.Contains(a.body, fmt.Sprintf(`"count":%d,`, c.counts)) ||
				strings.Contains(a.body, "jobId") {
				t.Errorf("%s: %d %s, want %d jobs", c.what, a.status, a.body, c.counts)
			}
		}
		for _, c := range []struct {
			who        http.Header
			body, code string
		}{
			{alice, `{"action":"erase","filter":{},"preview":true}`, "forbidden"},
			{w.header("acme", "alice", "read"), `{"action":"retry","filter":{},"preview":true}`, "forbidden"},
			{alice, `{"action":"retry","filter":{"tenant":"globex"},"preview":true}`, "forbidden"},
			{alice, `{"action":"run","filter":{},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{"limit":"3"},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{"state":7},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{"state":["failed",7]},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{"state":"pending"},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"cancel","filter":{"state":"failed"},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{"createdAfter":"soon"},"preview":true}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{}}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{},"expect":0}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{},"expect":3,"key":"` + strings.Repeat("k", 129) + `"}`, "invalid_frame"},
			{alice, `{"action":"retry","filter":{},"expect":4}`, "count_differs"},
		} {
			if a := post(c.who, c.body); a.code != c.code {
				t.Errorf("%s: %d %s, want %s", c.body, a.status, a.body, c.code)
			} else if c.code == "count_differs" && !strings.Contains(a.body, `"count":3`) {
				t.Errorf("%s: %s has no count", c.body, a.body)
			}
		}
	})
}

// TestAGatewayWithoutBulkActionsSaysSo: it is the default of a gateway alone.
func TestAGatewayWithoutBulkActionsSaysSo(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		a := w.http("POST", "/v1/bulk", http.Header{"Content-Type": {"application/json"}},
			strings.NewReader(`{"action":"retry","filter":{},"preview":true}`))
		if a.code != "not_found" || !strings.Contains(a.body, "bulk is off") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
