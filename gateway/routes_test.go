package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// TestEveryRoute has each method of HTTP at each route: those that it has not are 405 with those
// that it has, HEAD is GET without a body, and every answer has its request's ID.
func TestEveryRoute(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		const read, post = "GET, HEAD", "POST"
		for path, allow := range map[string]string{
			"/v1/jobs": "GET, HEAD, POST", "/v1/jobs/" + jobA: "DELETE, GET, HEAD", "/v1/jobs/" + jobA + "/why": read,
			"/v1/jobs/" + jobA + "/result":     read,
			"/v1/jobs/" + jobA + "/history":    read,
			"/v1/jobs/" + jobA + "/payload":    read,
			"/v1/jobs/" + jobA + "/deliveries": read, "/v1/jobs/" + jobA + "/events": read,
			"/v1/events?job=" + jobA:       "GET, HEAD, POST",
			"/v1/stats":                    read,
			"/v1/jobs/" + jobA + "/cancel": post, "/v1/jobs/" + jobA + "/retry": post, "/v1/ws-tickets": post,
			"/v1/grants": post, "/v1/ws": "GET",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
				allowed := strings.Contains(", "+allow+",", ", "+method+",")
				if allowed && method != "HEAD" {
					continue
				}
				got := w.http(method, path, nil, nil)
				if got.header.Get("X-Request-Id") == "" || got.header.Get("Referrer-Policy") != "no-referrer" {
					t.Errorf("%s %s: no request ID, or no policy for referrers: %v", method, path, got.header)
				}
				if !allowed {
					if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != allow ||
						got.header.Get("Content-Type") != "application/problem+json" ||
						method != "HEAD" && got.code != "method_not_allowed" {
						t.Errorf("%s %s: %d, Allow %q, %s", method, path, got.status, got.header.Get("Allow"), got.body)
					}
					continue
				}
				if got.body != "" {
					t.Errorf("HEAD %s has a body: %q", path, got.body)
				}
				if strings.Contains(path, "/events") { // its GET does not end
					if got.status != 200 || got.header.Get("Content-Type") != "text/event-stream" {
						t.Errorf("HEAD %s: %d %v", path, got.status, got.header)
					}
					continue
				}
				full := w.http("GET", path, nil, nil)
				if got.status != full.status {
					t.Errorf("HEAD %s: %d, GET: %d", path, got.status, full.status)
				}
				for _, name := range []string{"Content-Type", "ETag", "Cache-Control", "Vary"} {
					if got.header.Get(name) != full.header.Get(name) {
						t.Errorf("HEAD %s: %s is %q, of GET %q", path, name, got.header.Get(name), full.header.Get(name))
					}
				}
			}
		}
		for _, path := range []string{"/", "/v1", "/v1/", "/v1/jobs/", "/v1/jobs/" + jobA + "/", "/v1/jobs/" + jobA +
			"/nothing", "/favicon.ico"} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				if got := w.http(method, path, nil, nil); got.status != 404 || got.code != "not_found" ||
					got.header.Get("X-Request-Id") == "" || got.header.Get("Referrer-Policy") != "no-referrer" {
					t.Errorf("%s %s: %d %s", method, path, got.status, got.body)
				}
			}
		}
	})
}

// TestConditionsAndPreferences: what a client has is not sent again, and what was waited for is
// said.
func TestConditionsAndPreferences(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		for header, status := range map[string]int{`"7"`: 304, `W/"7"`: 304, `"1", "7"`: 304, `"6"`: 200, `7`: 200,
			`"77"`: 200, `*`: 304, ``: 200, `,,`: 200} {
			for _, method := range []string{"GET", "HEAD"} {
				got := w.http(method, "/v1/jobs/"+jobA, http.Header{"If-None-Match": {header}}, nil)
				if got.status != status || got.header.Get("ETag") != `"7"` {
					t.Errorf("%s with If-None-Match %s: %d %v", method, header, got.status, got.header)
				}
			}
		}
		for prefer, c := range map[string]struct {
			status  int
			applied string
			waits   time.Duration
		}{
			"wait=2": {200, "wait=2", 2 * time.Second}, "WAIT=2": {200, "wait=2", 2 * time.Second},
			`wait="1"`: {200, "wait=1", time.Second}, "respond-async, wait=1": {200, "wait=1", time.Second},
			"wait=0": {200, "", 0}, "respond-async": {200, "", 0}, "wait": {200, "", 0},
			"wait=100000": {200, "wait=60", time.Minute},
			"wait=-1":     {400, "", 0}, "wait=1.5": {400, "", 0}, "wait=": {400, "", 0}, "wait=99999999999999999999": {400,
				"", 0},
		} {
			began, asked := time.Now(), w.tracker.gets.Load()
			got := w.http("GET", "/v1/jobs/"+jobA, http.Header{"Prefer": {prefer}}, nil)
			// One question that waits, and one for the state now: nobody polls meanwhile.
			asked = w.tracker.gets.Load() - asked
			if asked > 2 {
				t.Errorf("Prefer: %s asked the tracker %d times", prefer, asked)
			}
			if took := time.Since(began); got.status != c.status || got.header.Get("Preference-Applied") != c.applied ||
				took < c.waits || took > c.waits+time.Second {
				t.Errorf("Prefer: %s: %d after %s, applied %q", prefer, got.status, took, got.header.Get("Preference-Applied"))
			}
		}
	})
}
