package gateway

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// Jobs that nobody submitted here.
const (
	jobA = "019c1db0-01c0-7a54-9d8e-3f1b5c7a9e02"
	jobB = "019c1db0-0b11-7c02-8a41-5d2f6e8b0c13"
)

func TestTheFirstFrameAboutAJobIsItsAck(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		for range 20 {
			ack := c.submit()
			if ack.State != "pending" || ack.ID != "s" {
				t.Errorf("ack %s", ack.raw)
			}
			w.eventually("the tracker knows the job", func() bool { return w.tracker.version(ack.JobID) > 0 })
			first := c.want("then its state", frame.Status)
			w.tracker.set("local", ack.JobID, first.Version+1, job.Processing)
			w.tracker.set("local", ack.JobID, first.Version+2, job.Completed)
			last := first
			for !strings.Contains(last.raw, `"completed"`) {
				next := c.want("then what is newer", frame.Status)
				if next.Version <= last.Version {
					t.Fatalf("version %d after %d", next.Version, last.Version)
				}
				last = next
			}
		}
		synctest.Wait()
		if n := w.gauge("ackwire_gateway_subscriptions"); n != 0 {
			t.Errorf("%v subscriptions are left after all jobs have ended", n)
		}
	})
}

func TestSubscribeAnswersInTheOrderAsked(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.tracker.set("acme", jobB, 3, job.Processing)
		c := w.dial(w.token("local", testSubject, time.Hour))
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q},{"jobId":%q}]}`, jobB, jobA)
		g := c.want("one answer", frame.Subscribed)
		want := fmt.Sprintf(`[{"jobId":%q,"error":"not_found"},{"jobId":%q,"version":7}]`, jobB, jobA)
		if string(g.Jobs) != want {
			t.Errorf("subscribed %s, want %s", g.Jobs, want)
		}
		if g := c.want("then the state now", frame.Status); g.Version != 7 {
			t.Errorf("status %s", g.raw)
		}
		w.tracker.set("local", jobA, 8, job.Completed)
		c.want("and what follows", frame.Status)
		c.send(`{"type":"subscribe","id":"2","jobs":[{"jobId":%q,"after":8}]}`, jobA)
		c.want("nothing is newer than its end", frame.Subscribed)
		c.wantAlive("nothing is newer than its end")
		c.send(`{"type":"subscribe","id":"3","jobs":[{"jobId":%q,"after":7}]}`, jobA)
		c.want("its end is newer than what came before", frame.Subscribed)
		c.want("its end is newer than what came before", frame.Status)
		if n := w.gauge("ackwire_gateway_subscriptions"); n != 0 {
			t.Errorf("%v subscriptions are left", n)
		}
	})
}

func TestAJobNamedTwiceIsAnsweredOnce(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q,"after":7},{"jobId":%q}]}`, jobA, jobA)
		g := c.want("one answer", frame.Subscribed)
		if want := fmt.Sprintf(`[{"jobId":%q,"version":7}]`, jobA); string(g.Jobs) != want {
			t.Errorf("subscribed %s, want %s", g.Jobs, want)
		}
		c.want("the more that was asked for: the state now", frame.Status)
		c.wantAlive("and nothing else")
	})
}

func TestEverySubscribeIsAnswered(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		w.tracker.set("local", jobB, 2, job.Processing)
		c := w.dial("")
		w.tracker.hush()
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q},{"jobId":%q}]}`, jobA, jobB)
		c.send(`{"type":"subscribe","id":"2","jobs":[{"jobId":%q,"after":3}]}`, jobA)
		c.send(`{"type":"subscribe","id":"3","jobs":[{"jobId":%q}]}`, jobA)
		c.send(`{"type":"unsubscribe","id":"4","jobs":[%q]}`, jobB)
		c.want("an unsubscribe is answered at once", frame.Unsubscribed)
		w.tracker.speak()
		answered := map[string]string{}
		statuses := 0
		for len(answered) < 3 {
			switch g, err := c.read(settled); {
			case err != nil:
				t.Fatalf("answered so far: %v: %v", answered, err)
			case g.Type == frame.Subscribed:
				answered[g.ID] = string(g.Jobs)
			case g.Type == frame.Status:
				statuses++
			}
		}
		if !strings.Contains(answered["1"], `"unavailable"`) || !strings.Contains(answered["1"], `"version":7`) {
			t.Errorf("the first was answered %s", answered["1"])
		}
		time.Sleep(time.Second) // states come after the answers
		c.send(`{"type":"ping","id":"alive"}`)
		for {
			g, err := c.read(settled)
			if err != nil {
				t.Fatal(err)
			}
			if g.Type == frame.Pong {
				break
			}
			statuses++
		}
		if statuses != 1 {
			t.Errorf("the state now was sent %d times, want once", statuses)
		}
	})
}

func TestASubscribeThatNoTrackerAnswersIsUnavailable(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		c := w.dial("")
		w.tracker.hush()
		began := time.Now()
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
		g := c.want("an answer in time", frame.Subscribed)
		if took := time.Since(began); !strings.Contains(g.raw, `"unavailable"`) || took > 7*time.Second {
			t.Errorf("after %s: %s", took, g.raw)
		}
	})
}

func TestUnsubscribeAfterAnAckLeavesNoWatch(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		for range 50 {
			ack := c.submit()
			c.send(`{"type":"unsubscribe","id":"u","jobs":[%q]}`, ack.JobID)
			for {
				g, err := c.read(settled)
				if err != nil {
					t.Fatal(err)
				}
				if g.Type == frame.Unsubscribed {
					break
				}
			}
			c.wantAlive("nothing is said after unsubscribed")
		}
		time.Sleep(time.Second)
		if n, m := w.gauge("ackwire_gateway_subscriptions"), w.tracker.watches(); n != 0 || m != 0 {
			t.Errorf("%v subscriptions and %d watches at the tracker are left", n, m)
		}
	})
}

func TestAddAndRemoveReachTheTrackerInOrder(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobB) // opens the stream
		c.want("answered", frame.Subscribed)
		w.tracker.hush()
		for i := range 101 { // ends subscribed
			kind, jobs := "subscribe", fmt.Sprintf(`{"jobId":%q}`, jobA)
			if i%2 == 1 {
				kind, jobs = "unsubscribe", fmt.Sprintf("%q", jobA)
			}
			c.send(`{"type":%q,"id":"x","jobs":[%s]}`, kind, jobs)
		}
		w.tracker.speak()
		time.Sleep(time.Second)
		if n := w.tracker.watches(); n != 1 {
			t.Errorf("the tracker has %d watches, want 1", n)
		}
		c.send(`{"type":"unsubscribe","id":"x","jobs":[%q]}`, jobA)
		time.Sleep(time.Second)
		if n := w.tracker.watches(); n != 0 {
			t.Errorf("the tracker has %d watches, want none", n)
		}
	})
}

func TestAStrangerCannotEndAWatch(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Processing)
		owner, stranger := w.dial(w.token("acme", "alice", time.Hour)), w.dial(w.token("evil", "mallory", time.Hour))
		owner.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
		owner.want("the owner watches", frame.Subscribed)
		owner.want("the owner watches", frame.Status)
		stranger.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
		if g := stranger.want("a stranger is answered", frame.Subscribed); !strings.Contains(g.raw, `"not_found"`) {
			t.Errorf("the stranger was told %s", g.raw)
		}
		stranger.send(`{"type":"unsubscribe","id":"2","jobs":[%q]}`, jobA)
		stranger.want("a stranger leaves", frame.Unsubscribed)
		w.tracker.set("acme", jobA, 8, job.Processing)
		owner.want("the owner goes on", frame.Status)

		// Also when the stream to the tracker breaks and everything is asked anew.
		w.net.Host("tracker").Cut()
		w.net.Host("tracker").Heal()
		time.Sleep(5 * time.Second)
		w.tracker.set("acme", jobA, 9, job.Processing)
		if g := owner.want("the owner goes on after the tracker was cut off", frame.Status); g.Version != 9 {
			t.Errorf("status %s", g.raw)
		}
		stranger.wantAlive("a stranger hears nothing")
	})
}

func TestASecondWatcherSeesTheStateNow(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, job.Processing)
		first, second := w.dial(""), w.dial("")
		for _, c := range []*client{first, second} {
			c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
			c.want("answered", frame.Subscribed)
			c.want("the state now", frame.Status)
		}
		if n := w.tracker.adds; n != 1 {
			t.Errorf("the job was watched %d times upstream, want once", n)
		}
		// Without a stream the state is not known: a third one waits for it, and the
		// others are not told again.
		w.net.Host("tracker").Cut()
		time.Sleep(100 * time.Millisecond)
		third := w.dial("")
		third.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
		w.net.Host("tracker").Heal()
		third.want("answered", frame.Subscribed)
		third.want("the state now", frame.Status)
		first.wantAlive("nothing is told twice")
	})
}

func TestUpdatesAreConflatedAndTheLastOneArrives(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 1, job.Processing)
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":%q}]}`, jobA)
		c.want("answered", frame.Subscribed)
		const updates = 5000
		for v := range int64(updates) {
			w.tracker.set("local", jobA, v+2, job.Processing)
			if v%100 == 0 {
				synctest.Wait() // the client reads nothing meanwhile
			}
		}
		w.tracker.set("local", jobA, updates+2, job.Completed)
		synctest.Wait()
		seen, last := 0, int64(0)
		for last < updates+2 {
			g := c.want("a status", frame.Status)
			if g.Version <= last {
				t.Fatalf("version %d after %d", g.Version, last)
			}
			seen, last = seen+1, g.Version
		}
		if seen > updates/10 {
			t.Errorf("%d of %d statuses were sent to a client that did not read", seen, updates)
		}
	})
}

func TestWatchFalse(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"watch":false}`)
		ack := c.want("acked", frame.Ack)
		w.eventually("the tracker knows the job", func() bool { return w.tracker.version(ack.JobID) > 0 })
		w.tracker.set("local", ack.JobID, 99, job.Completed)
		time.Sleep(time.Second)
		c.wantAlive("no status comes")
		var doc job.Document
		if err := json.Unmarshal([]byte(w.http("GET", "/v1/jobs/"+ack.JobID, nil, nil).body), &doc); err != nil ||
			doc.State != job.Completed {
			t.Errorf("the job can be read: %v, %v", doc, err)
		}
	})
}
