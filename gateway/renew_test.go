package gateway

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestATokenThatPermitsLess: what the new token of a socket does not cover ends, with a frame that says so, and the
// rest goes on without one.
func TestATokenThatPermitsLess(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		token := func(permissions ...string) string {
			return strings.TrimPrefix(w.header("acme", "alice", permissions...).Get("Authorization"), "Bearer ")
		}
		set := func(id, owner string, version int64, state job.State) {
			w.tracker.mu.Lock()
			defer w.tracker.mu.Unlock()
			w.tracker.setLocked("acme", id, version, state)
			w.tracker.jobs[id].subject = owner
		}
		set(jobA, "alice", 5, job.Pending)
		set(jobB, "bob", 6, job.Pending)
		c := w.dial(token("read:tenant"))
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q},{"jobId":%q}]}`, jobA, jobB)
		c.want("both are watched", frame.Subscribed)
		c.want("with their states", frame.Status)
		c.want("with their states", frame.Status)

		c.send(`{"type":"auth","id":"2","token":%q}`, token("read:tenant", "submit"))
		c.want("a token that permits more", frame.Welcome)
		c.wantAlive("changes nothing")

		c.send(`{"type":"auth","id":"3","token":%q}`, token("read"))
		c.want("one that permits less", frame.Welcome)
		ended := c.want("ends the watch of another's job", frame.Subscribed)
		if want := fmt.Sprintf(`[{"jobId":%q,"error":"not_found"}]`, jobB); string(ended.Jobs) != want || ended.ID != "" {
			t.Errorf("told %s, want %s", ended.raw, want)
		}
		set(jobB, "bob", 7, job.Processing)
		set(jobA, "alice", 8, job.Processing)
		if s := c.want("only the own job goes on", frame.Status); s.Version != 8 {
			t.Errorf("told %s", s.raw)
		}
		c.send(`{"type":"subscribe","id":"4","jobs":[{"jobId":%q}]}`, jobB)
		if s := c.want("the other is as none", frame.Subscribed); !strings.Contains(s.raw, "not_found") {
			t.Errorf("told %s", s.raw)
		}

		c.send(`{"type":"auth","id":"5","token":%q}`, token("submit"))
		c.want("one that permits no watch", frame.Welcome)
		ended = c.want("ends all", frame.Subscribed)
		if want := fmt.Sprintf(`[{"jobId":%q,"error":"forbidden"}]`, jobA); string(ended.Jobs) != want || ended.ID != "" {
			t.Errorf("told %s, want %s", ended.raw, want)
		}
		set(jobA, "alice", 9, job.Completed)
		c.wantAlive("and nothing follows")
		w.eventually("no watch is left", func() bool { return w.gauge("ackwire_gateway_subscriptions") == 0 })
	})
}
