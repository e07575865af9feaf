package shard

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// maxAhead is what a broker takes of a record's time by default (message.timestamp.after.max.ms),
// less a little: the test's own clock goes on.
const maxAhead = 55 * time.Minute

// wild gives times as writers with wrong clocks do: some true, some hours ago, some ahead.
func wild(rnd *rand.Rand) func() time.Time {
	return func() time.Time {
		switch now := time.Now(); rnd.IntN(4) {
		case 0:
			return now
		case 1:
			return now.Add(-time.Duration(rnd.Int64N(int64(48 * time.Hour))))
		case 2:
			return now.Add(time.Duration(rnd.Int64N(int64(maxAhead))))
		default:
			return []time.Time{{}, time.UnixMilli(-1), time.UnixMilli(0), time.UnixMilli(-1 << 60), now.Add(-26 * time.Hour),
				now.Add(maxAhead)}[rnd.IntN(6)]
		}
	}
}

// when returns when the job's first event of a type was appended.
func (w *world) when(id string, typ event.Type) time.Time {
	w.t.Helper()
	for _, rec := range w.log(names.Status()) {
		if e, err := event.Decode(rec.Value); err == nil && e.JobID == id && e.Type == typ {
			return w.times[rec.Offset]
		}
	}
	w.t.Fatalf("job %s: %s was never appended", id, typ)
	return time.Time{}
}

// TestWildTimes: on a topic whose records carry their writers' times, whatever those are,
// nothing falls due early by more than stampTolerance or late by more than that.
func TestWildTimes(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				rnd := rand.New(rand.NewPCG(seed, 14))
				ids := jobIDs(8)
				w.set(func() { w.stamps = wild(rnd) })
				noise := func() { w.submit(ids[7]) }
				noise()
				deadline := ids[0]
				timeout := ids[1]
				retry := ids[2]
				expiry := ids[3]
				forced := ids[4]
				silent := ids[5]
				scheduled := ids[6]

				began := time.Now()
				w.submit(deadline, with(func(p *job.Policy) { p.Deadline = job.Seconds(time.Minute) }))
				w.submit(timeout, with(func(p *job.Policy) { p.Timeout = job.Seconds(40 * time.Second) }))
				w.claim(timeout, "r1")
				w.submit(retry)
				w.claim(retry, "r1")
				after := job.Seconds(30 * time.Second)
				w.append(retry, event.Failed, func(e *event.Event) { e.Error.RetryAfter = &after })
				w.submit(expiry)
				w.claim(expiry, "r1")
				w.append(expiry, event.Completed)
				w.submit(forced)
				w.claim(forced, "r1")
				w.append(forced, event.CancelRequested)
				w.submit(silent)
				w.claim(silent, "r1")
				runAt := began.Add(20 * time.Second)
				w.append(scheduled, event.Accepted, at(w.request(names.Deferred(), scheduled)), func(e *event.Event) {
					e.RunAt = &runAt
				})
				for range 10 {
					w.pass(10 * time.Second)
					noise()
					if w.peek(timeout).Doc.State == job.Processing {
						w.append(timeout, event.Beat)
					}
					if w.peek(forced).Doc.State == job.Processing {
						w.append(forced, event.Beat)
					}
				}
				w.pass(2 * time.Hour)
				for _, due := range []struct {
					what, id string
					typ      event.Type
					after    time.Duration
				}{
					{"the deadline", deadline, event.DeadlineExceeded, time.Minute},
					{"the timeout", timeout, event.AttemptTimedOut, 40 * time.Second},
					{"the retry", retry, event.Requeued, 30 * time.Second},
					{"the start", scheduled, event.Requeued, 20 * time.Second},
					{"the end of the grace", forced, event.CancelForced, grace},
					{"the end of the lease", silent, event.LeaseExpired, lease},
					{"the expiry", expiry, event.Expired, retention},
				} {
					took := w.when(due.id, due.typ).Sub(began)
					if took < due.after-stampTolerance || took > due.after+stampTolerance+2*choreInterval {
						t.Errorf("%s came after %s, want %s", due.what, took, due.after)
					}
				}
			})
		})
	}
}

// TestOneWildTime: a record of one job moves nothing of another's.
func TestOneWildTime(t *testing.T) {
	for _, off := range []time.Duration{maxAhead, -26 * time.Hour} {
		inBubble(t, func(t *testing.T, w *world) {
			ids := jobIDs(3)
			w.set(func() { w.stamps = time.Now })
			runAt := time.Now().Add(30 * time.Minute)
			w.append(ids[0], event.Accepted, at(w.request(names.Deferred(), ids[0])), func(e *event.Event) { e.RunAt = &runAt })
			w.submit(ids[1], with(func(p *job.Policy) { p.Deadline = job.Seconds(30 * time.Minute) }))
			w.set(func() { w.stamps = func() time.Time { return time.Now().Add(off) } })
			w.submit(ids[2])
			w.set(func() { w.stamps = time.Now })
			w.pass(time.Minute)
			w.wantState("its start is far off", ids[0], job.Scheduled)
			w.wantState("its deadline is far off", ids[1], job.Pending)
			snap, err := w.get(Query{JobID: ids[1], Scope: Scope{Tenant: tenant}})
			if err != nil || snap.AsOf.After(time.Now()) {
				t.Errorf("an answer of %s, %v", snap.AsOf, err)
			}
			is := map[bool]string{true: "ahead", false: "behind"}[off > 0]
			w.wantMetric("counted", w.metrics.wildStamps.WithLabelValues(is), 1)
			w.pass(30 * time.Minute)
			w.wantState("it has started", ids[0], job.Pending)
			w.wantState("it took too long", ids[1], job.Failed)
		})
	}
}

// TestWildTimesFromTheLog: a shard that begins anew believes none that cannot be true beside the
// records around it, and all of its documents are those that were told before.
func TestWildTimesFromTheLog(t *testing.T) {
	for seed := range uint64(5) {
		inBubble(t, func(t *testing.T, w *world) {
			rnd := rand.New(rand.NewPCG(seed, 15))
			ids := jobIDs(12)
			lying := wild(rnd)
			w.set(func() { w.stamps = time.Now })
			began := time.Now()
			for _, id := range ids {
				w.set(func() { w.stamps = time.Now })
				w.submit("job-" + string(besides(t, id))) // an honest neighbour
				w.set(func() { w.stamps = lying })
				w.submit(id, with(func(p *job.Policy) { p.Deadline = job.Seconds(10 * time.Minute) }))
			}
			before := w.checkAll("at first")
			w.pass(time.Minute)
			w.end()
			w.fs = newWorld(t).fs
			w.start()
			w.pass(time.Second)
			for id, doc := range w.checkAll("from the log") {
				if string(before[id].Document) != string(doc.Document) {
					t.Errorf("job %s was\n%s and is\n%s", id, before[id].Document, doc.Document)
				}
			}
			w.pass(70 * time.Minute)
			for _, id := range ids {
				took := w.when(id, event.DeadlineExceeded).Sub(began)
				if took < 10*time.Minute-stampTolerance || took > 11*time.Minute+stampTolerance {
					t.Errorf("seed %d: a deadline of ten minutes came after %s", seed, took)
				}
			}
		})
	}
}

// besides makes the ID of another job of the shard's.
func besides(t *testing.T, id string) []byte {
	t.Helper()
	for i := 0; ; i++ {
		if name := fmt.Sprintf("beside-%s-%d", id, i); kafka.Partition("job-"+name, testPartitions) == testPartition {
			return []byte(name)
		}
	}
}
