package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
)

// A job is found by its ID in either case, at every door.
func TestAJobByItsIDInUpperCase(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Completed)
		upper := strings.ToUpper(jobA)
		for _, path := range []string{"/v1/jobs/" + upper, "/v1/jobs/" + upper + "/why", "/v1/jobs/" + upper + "/deliveries",
			"/v1/jobs/" + upper + "/events", "/v1/events?job=" + upper} {
			if a := w.http("GET", path, nil, nil); a.status != http.StatusOK {
				t.Errorf("GET %s: %d %s", path, a.status, a.body)
			}
		}
		if a := w.http("POST", "/v1/jobs/"+upper+"/cancel", nil, nil); a.code != "invalid_state" {
			t.Errorf("cancel: %d %s", a.status, a.body)
		}
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, upper)
		if f, err := c.read(settled); err != nil || !strings.Contains(string(f.raw), `"jobId":"`+jobA+`","version":5`) {
			t.Errorf("subscribe: %s, %v", f.raw, err)
		}
		c.send(`{"type":"cancel","id":"2","jobId":%q}`, upper)
		for {
			f, err := c.read(settled)
			if err != nil {
				t.Fatal(err)
			}
			if f.Type == "error" {
				if !strings.Contains(string(f.raw), "invalid_state") {
					t.Errorf("cancel by a frame: %s", f.raw)
				}
				break
			}
		}
	})
}
