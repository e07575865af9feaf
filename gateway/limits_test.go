package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// as opens a socket of a tenant's user.
func (w *world) as(tenant, subject string) (*client, *http.Response, error) {
	w.t.Helper()
	return w.dialRaw(dialOptions{header: http.Header{"Authorization": {"Bearer " + w.token(tenant, subject, time.Hour)}}})
}

// TestSessionsOfATenant: the bound of a tenant, of a user, and of all; a place that is free
// again is given again.
func TestSessionsOfATenant(t *testing.T) {
	bounded := func(c *Config) {
		tokensOnly(c)
		c.Sessions, c.Limits.Sessions, c.Limits.SubjectSessions = 10, 6, 2
	}
	inWorld(t, bounded, func(t *testing.T, w *world) {
		refused := func(what string, r *http.Response, err error, status int) {
			t.Helper()
			if err == nil || r == nil || r.StatusCode != status {
				t.Errorf("%s: %v, %v", what, r, err)
			}
		}
		var open []*client
		for i := range 6 {
			c, _, err := w.as("acme", fmt.Sprint("user", i/2))
			if err != nil {
				t.Fatal(err)
			}
			c.want("a session", frame.Welcome)
			if open = append(open, c); i == 1 {
				_, r, err := w.as("acme", "user0")
				refused("a third of one user", r, err, http.StatusTooManyRequests)
			}
		}
		_, r, err := w.as("acme", "user9")
		refused("a seventh of the tenant", r, err, http.StatusTooManyRequests)

		// With the first frame it is a frame's error and a close.
		c, _, err := w.dialRaw(dialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c.send(`{"type":"auth","id":"1","token":%q}`, w.token("acme", "user9", time.Hour))
		c.wantError("a seventh of the tenant", "limit_exceeded")
		c.wantClose("a seventh of the tenant", 4503)

		_ = open[0].ws.CloseNow()
		w.eventually("its place is free", func() bool {
			c, _, err := w.as("acme", "user0")
			if err == nil {
				c.want("a session", frame.Welcome)
			}
			return err == nil
		})
		if n := w.gauge("ackwire_gateway_turned_away_total", "subject_sessions"); n < 1 {
			t.Errorf("%v were turned away for the user's bound", n)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "tenant_sessions"); n < 2 {
			t.Errorf("%v were turned away for the tenant's bound", n)
		}
	})
}

// TestWhoHasMoreThanItsShareIsTurnedAwayFirst: when hardly any room is left, it is for others.
func TestWhoHasMoreThanItsShareIsTurnedAwayFirst(t *testing.T) {
	inWorld(t, func(c *Config) {
		tokensOnly(c)
		c.Sessions, c.Limits.SubjectSessions = 20, 0
	}, func(t *testing.T, w *world) {
		for i := range 18 {
			if _, _, err := w.as("greedy", "user"); err != nil {
				t.Fatalf("session %d: %v", i, err)
			}
		}
		if _, _, err := w.as("modest", "user"); err != nil {
			t.Fatalf("the first session of another tenant: %v", err)
		}
		if _, r, err := w.as("greedy", "user"); err == nil || r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("one more for who has 18 of 20: %v, %v", r, err)
		}
		if _, _, err := w.as("modest", "user"); err != nil {
			t.Errorf("a second session of the other tenant: %v", err)
		}
		if _, r, err := w.as("third", "user"); err == nil || r.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("when all is full: %v, %v", r, err)
		}
	})
}

// TestSubmitsOfATenant: a rate, with the time until the next, and a number of jobs that have
// not ended, whatever protocol they come by.
func TestSubmitsOfATenant(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.SubmitRate, c.Limits.Jobs = 5, 12 }, func(t *testing.T, w *world) {
		c := w.dial("")
		submit := func() got {
			c.send(`{"type":"submit","id":"s","job":"demo.echo","payload":1,"watch":false}`)
			return c.want("a submit", frame.Ack)
		}
		for range 10 {
			submit()
		}
		c.send(`{"type":"submit","id":"11","job":"demo.echo","payload":1}`)
		if g := c.wantError("beyond a burst", "rate_limited"); g.RetryAfter <= 0 || g.RetryAfter > 0.3 {
			t.Errorf("come back after %v s", g.RetryAfter)
		}
		other := w.dial(w.token("other", "user", time.Hour))
		other.submit()
		time.Sleep(2 * time.Second)
		submit()
		last := submit()
		time.Sleep(2 * time.Second) // the count is up to date
		c.send(`{"type":"submit","id":"13","job":"demo.echo","payload":1}`)
		c.wantError("a thirteenth job", "limit_exceeded")
		got := w.http("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}},
			strings.NewReader(`{"job":"demo.echo","payload":1}`))
		if got.status != http.StatusTooManyRequests || got.code != "limit_exceeded" {
			t.Errorf("over HTTP: %d %s", got.status, got.body)
		}
		// One ends, and there is room again.
		w.tracker.set("local", last.JobID, w.tracker.version(last.JobID)+1, job.Completed)
		time.Sleep(2 * time.Second)
		c.send(`{"type":"submit","id":"last","job":"demo.echo","payload":1}`)
		if g := c.answerTo("last"); g.Type != frame.Ack {
			t.Errorf("with room again: %s", g.raw)
		}
	})
}

func TestWatchesOfATenant(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.Subscriptions = 3 }, func(t *testing.T, w *world) {
		first, second := w.dial(""), w.dial("")
		for i, c := range []*client{first, first, second} {
			c.send(`{"type":"submit","id":"s%d","job":"demo.echo","payload":1}`, i)
			c.answerTo(fmt.Sprint("s", i))
		}
		second.send(`{"type":"submit","id":"4","job":"demo.echo","payload":1}`)
		if g := second.answerTo("4"); g.Code != "limit_exceeded" {
			t.Errorf("a fourth watch of the tenant: %s", g.raw)
		}
		_ = first.ws.CloseNow()
		w.eventually("its watches are free", func() bool {
			second.send(`{"type":"submit","id":"again","job":"demo.echo","payload":1}`)
			return second.answerTo("again").Type == frame.Ack
		})
	})
}

// TestAFloodOfFrames: refused one by one, then closed; another client notices nothing.
func TestAFloodOfFrames(t *testing.T) {
	inWorld(t, func(c *Config) { c.FrameRate = 10 }, func(t *testing.T, w *world) {
		c, good := w.dial(""), w.dial("")
		for range 20 {
			c.wantAlive("a burst")
		}
		c.send(`{"type":"ping","id":"more"}`)
		if g := c.wantError("one more", "rate_limited"); g.RetryAfter <= 0 || g.ID != "more" {
			t.Errorf("%s", g.raw)
		}
		time.Sleep(3 * time.Second)
		c.wantAlive("after a while")
		for range 19 + 66 {
			c.send(`{"type":"ping"}`)
		}
		for closed := false; !closed; {
			_, err := c.read(settled)
			closed = err != nil
		}
		w.eventually("it is closed", func() bool { return w.gauge("ackwire_gateway_session_closes_total", "1008") == 1 })
		good.wantAlive("another client")
	})
}
