package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// orders makes the tracker that the test plays fold what owners order.
func (w *world) orders(tenant string) {
	w.tracker.mu.Lock()
	defer w.tracker.mu.Unlock()
	w.tracker.onOrder = func(e *event.Event, version int64) { w.tracker.order(tenant, e, version) }
}

func TestCancelAndRetryOverASocket(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Pending)
		w.tracker.set("acme", jobB, 3, job.Pending)
		w.orders("local")
		c := w.dial(w.token("local", testSubject, time.Hour))
		c.send(`{"type":"cancel","id":"1","jobId":%q}`, jobA)
		if ack := c.want("a cancel is acked", frame.Ack); ack.ID != "1" || ack.JobID != jobA || ack.State != "cancelled" {
			t.Errorf("ack %s", ack.raw)
		}
		c.send(`{"type":"cancel","id":"2","jobId":%q}`, jobA)
		c.wantError("a job that has ended", "invalid_state")
		c.send(`{"type":"retry","id":"3","jobId":%q}`, jobA)
		if ack := c.want("a retry is acked", frame.Ack); ack.State != "retrying" {
			t.Errorf("ack %s", ack.raw)
		}
		if s := c.want("and watches the job", frame.Status); !strings.Contains(s.raw, `"retrying"`) {
			t.Errorf("status %s", s.raw)
		}
		c.send(`{"type":"retry","id":"4","jobId":%q}`, jobA)
		c.wantError("a job that has not ended", "invalid_state")
		for _, id := range []string{jobB, "019c1db0-0b11-7c02-8a41-5d2f6e8b0c99", "nonsense"} {
			c.send(`{"type":"cancel","id":"5","jobId":%q}`, id)
			c.wantError("another's job, or none", "not_found")
		}
		c.send(`{"type":"retry","id":"6"}`)
		c.wantError("no job", "invalid_frame")
		c.wantAlive("the socket goes on")
		if n := w.gauge("ackwire_gateway_subscriptions"); n != 1 {
			t.Errorf("%v subscriptions, want 1", n)
		}
	})
}

func TestCancelAndRetryOverHTTP(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.tracker.set("acme", jobB, 3, job.Pending)
		w.orders("local")
		url := "/v1/jobs/" + jobA
		if a := w.http("POST", url+"/retry", nil, nil); a.status != 409 || a.code != "invalid_state" {
			t.Errorf("retry of a running job: %d %s", a.status, a.body)
		}
		if a := w.http("POST", url+"/cancel", nil, nil); a.status != 202 || !strings.Contains(a.body, `"cancelled"`) ||
			a.header.Get("Location") != url {
			t.Errorf("cancel: %d %v %s", a.status, a.header, a.body)
		}
		if a := w.http("POST", url+"/retry", nil, nil); a.status != 202 || !strings.Contains(a.body, `"retrying"`) {
			t.Errorf("retry: %d %s", a.status, a.body)
		}
		if a := w.http("POST", "/v1/jobs/"+jobB+"/cancel", w.header("local", testSubject), nil); a.status != 404 {
			t.Errorf("cancel of a foreign job: %d %s", a.status, a.body)
		}
		if a := w.http("GET", url+"/cancel", nil, nil); a.status != 405 || a.header.Get("Allow") != "POST" {
			t.Errorf("GET: %d %s", a.status, a.body)
		}
		log := w.produced(w.names.Status())
		if len(log) != 2 {
			t.Errorf("%d orders were appended, want 2", len(log))
		}
	})
}

// TestACancelThatComesTooLate: the job completes while the order is on its way.
func TestACancelThatComesTooLate(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.tracker.mu.Lock()
		w.tracker.onOrder = func(e *event.Event, version int64) {
			w.tracker.setLocked("local", e.JobID, version, job.Completed)
		}
		w.tracker.mu.Unlock()
		if a := w.http("POST", "/v1/jobs/"+jobA+"/cancel", nil, nil); a.status != 409 || a.code != "invalid_state" {
			t.Errorf("cancel: %d %s", a.status, a.body)
		}
	})
}

// TestAnOrdersAnswerIsTheFoldsVerdict: whatever happens to the job between the look at it and the fold of the order.
func TestAnOrdersAnswerIsTheFoldsVerdict(t *testing.T) {
	type folded func(f *fakeTracker, e *event.Event, version int64)
	becomes := func(s job.State) folded {
		return func(f *fakeTracker, e *event.Event, version int64) { f.setLocked("local", e.JobID, version, s) }
	}
	nextRound := func(s job.State) folded {
		return func(f *fakeTracker, e *event.Event, version int64) {
			f.jobs[e.JobID].round++
			f.setLocked("local", e.JobID, version, s)
		}
	}
	expires := func(f *fakeTracker, e *event.Event, _ int64) { delete(f.jobs, e.JobID) }
	nothing := func(*fakeTracker, *event.Event, int64) {}
	asked := func(f *fakeTracker, e *event.Event, version int64) {
		b, err := json.Marshal(job.Document{
			JobID: e.JobID, Type: "demo.echo", State: job.Processing, CancelRequested: true, Attempt: 1,
			MaxAttempts: 3,
		})
		if err != nil {
			panic(err)
		}
		f.pushLocked("local", e.JobID, version, b, false)
	}
	for _, c := range []struct {
		what, order string
		was         job.State
		folded      folded
		status      int
		code        string
	}{
		{"a pending job is cancelled", "cancel", job.Pending, becomes(job.Cancelled), 202, ""},
		{"a running one is asked to stop", "cancel", job.Processing, asked, 202, ""},
		{"it completed before", "cancel", job.Processing, becomes(job.Completed), 409, "invalid_state"},
		{"it ended and was retried before", "cancel", job.Processing, nextRound(job.Processing), 409, "invalid_state"},
		{"the fold refuses the cancel", "cancel", job.Processing, nothing, 409, "invalid_state"},
		{"it ended and was removed before the cancel", "cancel", job.Processing, expires, 404, "not_found"},
		{"an ended job is retried", "retry", job.Failed, nextRound(job.Retrying), 202, ""},
		{"by another one, too, and runs already", "retry", job.Failed, nextRound(job.Processing), 202, ""},
		{"the fold refuses the retry", "retry", job.Failed, nothing, 409, "invalid_state"},
		{"its retention ended before the retry", "retry", job.Failed, expires, 404, "not_found"},
	} {
		inWorld(t, nil, func(t *testing.T, w *world) {
			w.tracker.set("local", jobA, 7, c.was)
			w.tracker.mu.Lock()
			w.tracker.onOrder = func(e *event.Event, version int64) { c.folded(w.tracker, e, version) }
			w.tracker.mu.Unlock()
			if a := w.http("POST", "/v1/jobs/"+jobA+"/"+c.order, nil, nil); a.status != c.status || a.code != c.code {
				t.Errorf("%s: %d %s, want %d %s", c.what, a.status, a.body, c.status, c.code)
			}
		})
	}
}

// TestOrdersAreLimited: by a rate of their user's, and a retry as a submit is, by rate and open jobs.
func TestOrdersAreLimited(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.OrderRate = 5 }, func(t *testing.T, w *world) {
		taken, asked := 0, w.tracker.gets.Load()
		for range 50 {
			switch a := w.http("POST", "/v1/jobs/"+jobA+"/retry", nil, nil); {
			case a.status == 404:
				taken++
			case a.status != 429 || a.code != "rate_limited" || a.header.Get("Retry-After") == "":
				t.Fatalf("%d %v %s", a.status, a.header, a.body)
			}
		}
		if taken != 10 || w.tracker.gets.Load()-asked != 10 {
			t.Errorf("%d orders were taken and the tracker was asked %d times, want a burst of 10", taken,
				w.tracker.gets.Load()-asked)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "order_rate"); n != 40 {
			t.Errorf("%v were turned away", n)
		}
	})
	inWorld(t, func(c *Config) { c.Limits.SubmitRate = 1 }, func(t *testing.T, w *world) {
		w.orders("local")
		w.tracker.set("local", jobA, 7, job.Failed)
		for range 2 {
			if a := w.http("POST", "/v1/jobs/"+jobA+"/retry", nil, nil); a.status != 202 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			w.tracker.set("local", jobA, w.tracker.version(jobA)+1, job.Failed)
		}
		if a := w.http("POST", "/v1/jobs/"+jobA+"/retry", nil, nil); a.status != 429 || a.code != "rate_limited" {
			t.Errorf("beyond the burst of submits: %d %s", a.status, a.body)
		}
	})
	inWorld(t, func(c *Config) { c.Limits.Jobs = 2 }, func(t *testing.T, w *world) {
		w.orders("local")
		w.tracker.set("local", jobA, 7, job.Failed)
		for _, id := range []string{"019c1db0-0b11-7c02-8a41-5d2f6e8b0c01", "019c1db0-0b11-7c02-8a41-5d2f6e8b0c02"} {
			w.tracker.set("local", id, 3, job.Pending)
		}
		if a := w.http("POST", "/v1/jobs/"+jobA+"/retry", nil, nil); a.status != 429 || a.code != "limit_exceeded" {
			t.Errorf("with as many open jobs as there may be: %d %s", a.status, a.body)
		}
		if a := w.http("POST", "/v1/jobs/019c1db0-0b11-7c02-8a41-5d2f6e8b0c01/cancel", nil, nil); a.status != 202 {
			t.Errorf("a cancel then: %d %s", a.status, a.body)
		}
	})
}

func TestOrdersWhileKafkaIsAway(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.net.Host("broker").Hang()
		began := time.Now()
		a := w.http("POST", "/v1/jobs/"+jobA+"/cancel", nil, nil)
		if took := time.Since(began); a.status != 503 || a.code != "indeterminate" || took > 6*time.Second {
			t.Errorf("after %s: %d %s", took, a.status, a.body)
		}
		w.net.Host("broker").Heal()
	})
}

// TestAStartInThePastIsNow: one that is past for any clock; whether one of the last day is due is
// for the tracker to say, by the log's clock.
func TestAStartInThePastIsNow(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		// the bubble's clock starts a day later
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"runAt":"1999-12-31T00:00:00Z"}`)
		if ack := c.want("a start in the past", frame.Ack); ack.State != "pending" {
			t.Errorf("ack %s", ack.raw)
		}
		c.want("its state", frame.Status)
		c.send(`{"type":"submit","id":"2","job":"demo.echo","payload":1,"watch":false,"runAt":"2000-01-02T00:00:00Z"}`)
		if ack := c.want("a start in the future", frame.Ack); ack.State != "scheduled" {
			t.Errorf("ack %s", ack.raw)
		}
		c.send(`{"type":"submit","id":"3","job":"demo.echo","payload":1,"watch":false,"runAt":"1999-12-31T00:01:00Z"}`)
		if ack := c.want("a start that an hour's error could make one to come", frame.Ack); ack.State != "scheduled" {
			t.Errorf("ack %s", ack.raw)
		}
		c.send(`{"type":"submit","id":"4","job":"demo.echo","payload":1,"watch":false,"runAt":"0000-01-01T00:00:00+23:59"}`)
		if ack := c.want("a start that no document can carry", frame.Ack); ack.State != "pending" {
			t.Errorf("ack %s", ack.raw)
		}
		if n, m := len(w.produced(w.names.Requests("default"))), len(w.produced(w.names.Deferred())); n != 2 || m != 2 {
			t.Errorf("%d requests are with workers and %d deferred", n, m)
		}
	})
}
