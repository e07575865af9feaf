package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestARetryIsNotEndedByTheFormerRound: a tracker that lags tells its streams that the job has
// ended, when the retry is acked already.
func TestARetryIsNotEndedByTheFormerRound(t *testing.T) {
	for name, watches := range map[string]bool{"a new watch": false, "in place of a watch": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				w.tracker.mu.Lock()
				w.tracker.onOrder = func(e *event.Event, _ int64) { w.tracker.order("local", e, 25) }
				w.tracker.mu.Unlock()
				w.tracker.set("local", jobA, 10, job.Processing)
				c := w.dial("")
				other := w.dial("")
				other.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
				other.want("another one watches", frame.Subscribed)
				other.want("another one watches", frame.Status)
				if watches {
					c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
					c.want("it watches", frame.Subscribed)
					c.want("it watches", frame.Status)
				}
				// The job ends, and its streams do not hear of it.
				w.tracker.lags(jobA)
				w.tracker.set("local", jobA, 20, job.Failed)
				w.tracker.mu.Lock()
				*w.tracker.behind[jobA] = *w.tracker.jobs[jobA]
				w.tracker.mu.Unlock()
				c.send(`{"type":"retry","id":"2","jobId":%q}`, jobA)
				if ack := c.want("a retry is acked", frame.Ack); ack.State != "retrying" {
					t.Errorf("ack %s", ack.raw)
				}
				// Now they hear of the former round's end, and of nothing else for a while.
				w.tracker.mu.Lock()
				end := w.tracker.behind[jobA]
				for s := range w.tracker.streams {
					s.out <- told(jobA, end)
				}
				w.tracker.mu.Unlock()
				if g := other.want("who watched the former round sees its end", frame.Status); g.Version != 20 {
					t.Errorf("status %s", g.raw)
				}
				time.Sleep(2 * time.Second)
				c.wantAlive("who has retried it does not")
				w.tracker.caughtUp()
				w.tracker.set("local", jobA, 30, job.Completed)
				for {
					g := c.want("but the end that counts", frame.Status)
					if g.Version <= 20 {
						t.Fatalf("status %s", g.raw)
					}
					if g.Version == 30 {
						break
					}
				}
				synctest.Wait()
				if n := w.gauge("ackwire_gateway_subscriptions"); n != 0 {
					t.Errorf("%v subscriptions are left", n)
				}
			})
		})
	}
}

// TestAVersionThatTheLogNeverHadIsNone: its client is sent the state, and told that what it knew
// is void.
func TestAVersionThatTheLogNeverHadIsNone(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 40, job.Processing)
		w.tracker.set("local", jobB, 41, job.Completed)
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"after":1000},{"jobId":%q,"after":1000}]}`, jobA, jobB)
		want := fmt.Sprintf(`[{"jobId":%q,"version":40,"reset":true},{"jobId":%q,"version":41,"reset":true}]`, jobA, jobB)
		if g := c.want("the answer says so", frame.Subscribed); string(g.Jobs) != want {
			t.Errorf("subscribed %s, want %s", g.Jobs, want)
		}
		seen := map[int64]bool{}
		for range 2 {
			seen[c.want("and the state is sent", frame.Status).Version] = true
		}
		if !seen[40] || !seen[41] {
			t.Errorf("seen %v", seen)
		}
		c.wantAlive("once")
		w.tracker.set("local", jobA, 42, job.Completed)
		c.want("what follows is sent, too", frame.Status)

		for path, header := range map[string]string{"/v1/jobs/" + jobA + "/events": "1000", "/v1/jobs/" + jobB +
			"/events": "42"} {
			e := w.stream(path, http.Header{"Last-Event-Id": {header}})
			if e.answer.StatusCode != http.StatusOK {
				t.Fatalf("%s after %s: %d", path, header, e.answer.StatusCode)
			}
			e.next()
			if got := e.next(); !strings.Contains(got, `"completed"`) {
				t.Errorf("%s after %s: %s", path, header, got)
			}
			e.want("all has ended", "end")
		}
	})
}

// TestALogThatLosesItsEndSilencesNoWatch: while a job is watched, its log forgets the last
// versions.
func TestALogThatLosesItsEndSilencesNoWatch(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 40, job.Processing)
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
		c.want("it watches", frame.Subscribed)
		c.want("it watches", frame.Status)
		e := w.stream("/v1/jobs/"+jobA+"/events", nil)
		e.next()
		e.next()
		w.tracker.mu.Lock()
		w.tracker.jobs[jobA].version = 30
		w.tracker.mu.Unlock()
		w.gateway.up.Lose(jobA)
		want := fmt.Sprintf(`[{"jobId":%q,"version":30,"reset":true}]`, jobA)
		if g := c.want("it is told", frame.Subscribed); string(g.Jobs) != want || g.ID != "" {
			t.Errorf("subscribed %s", g.raw)
		}
		if g := c.want("and sent what is true", frame.Status); g.Version != 30 {
			t.Errorf("status %s", g.raw)
		}
		w.tracker.set("local", jobA, 31, job.Completed)
		if g := c.want("to its end", frame.Status); g.Version != 31 {
			t.Errorf("status %s", g.raw)
		}
		if got := e.next(); !strings.HasPrefix(got, "id: 30|") {
			t.Errorf("the event stream says %s", got)
		}
		if got := e.next(); !strings.HasPrefix(got, "id: 31|") {
			t.Errorf("the event stream says %s", got)
		}
		e.want("and ends", "end")
	})
}
