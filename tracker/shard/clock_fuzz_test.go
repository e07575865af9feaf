package shard

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// clocks gives times as several producers do whose records interleave: each has a clock of its own, which is right,
// stands, is off by up to 60 hours, or says anything at all.
func clocks(seeds *rand.Rand) func() time.Time {
	rnd := rand.New(rand.NewPCG(seeds.Uint64(), 18)) // of its own: the shard's records have times, too
	began := time.Now()
	producers := make([]func() time.Time, 1+rnd.IntN(6))
	for i := range producers {
		off := time.Duration(rnd.Int64N(int64(120*time.Hour))) - 60*time.Hour
		producers[i] = []func() time.Time{
			time.Now,
			func() time.Time { return began.Add(off) },
			func() time.Time { return time.Now().Add(off) },
			func() time.Time { return time.Now().Add(off / 1000) },
			func() time.Time {
				return []time.Time{
					{}, time.UnixMilli(0), time.UnixMilli(-1), time.UnixMilli(math.MinInt64), time.UnixMilli(math.MaxInt64),
					time.Date(2199, 12, 31, 0, 0, 0, 0, time.UTC), time.UnixMilli(rnd.Int64()),
					time.UnixMilli(rnd.Int64N(1 << 42)),
				}[rnd.IntN(8)]
			},
		}[rnd.IntN(5)]
	}
	return func() time.Time { return producers[rnd.IntN(len(producers))]() }
}

// FuzzWriterTimes lives through a random day on a topic whose records have the times of their writers, with restarts
// that keep the shard's state, lose the last part of it, or lose all of it. Whatever the times say,
//   - no lease, timeout, grace, retry, start, deadline or retention ends earlier than it may by more than
//     stampTolerance, and each ends, so that in the end no job is left;
//   - a shard that begins anew has the same documents.
func FuzzWriterTimes(f *testing.F) {
	for seed := range uint64(6) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		bubble.Test(t, func(t *testing.T) { writerTimes(t, rand.New(rand.NewPCG(seed, 17))) })
	})
}

// longest is the longest deadline and retention of the jobs of writerTimes.
const longest = 3 * time.Hour

func writerTimes(t *testing.T, rnd *rand.Rand) {
	w := newWorld(t)
	w.stamps = clocks(rnd)
	w.start()
	synctest.Wait()
	ids := jobIDs(10)
	up := func(d time.Duration) job.Seconds {
		return job.Seconds(time.Second + time.Duration(rnd.Int64N(int64(d))))
	}
	submit := func(id string) {
		topicName, mods := names.Requests("default"), []mod{with(func(p *job.Policy) {
			p.Lease, p.Grace, p.Timeout = up(2*time.Minute), up(time.Minute), up(10*time.Minute)
			p.Deadline, p.Retention = up(longest), up(longest)
		})}
		if rnd.IntN(4) == 0 {
			runAt := time.Now().Add(time.Duration(rnd.Int64N(int64(time.Hour))))
			topicName, mods = names.Deferred(), append(mods, func(e *event.Event) { e.RunAt = &runAt })
		}
		w.append(id, event.Accepted, append(mods, at(w.request(topicName, id)))...)
	}
	for step := range 120 {
		id := ids[rnd.IntN(len(ids))]
		switch j := w.peek(id); {
		case j == nil:
			submit(id)
		case j.Doc.State == job.Processing && rnd.IntN(5) == 0:
			after := up(20 * time.Minute)
			w.append(id, event.Failed, dispatch(j.Dispatch), run(j.Run), func(e *event.Event) { e.Error.RetryAfter = &after })
		default:
			w.randomEvent(rnd, id, step)
		}
		switch rnd.IntN(20) {
		case 0:
			w.anew(rnd, func() { submit(ids[rnd.IntN(len(ids))]) })
		case 1, 2, 3:
			w.pass(time.Duration(rnd.Int64N(int64(5 * time.Minute))))
		case 4:
			w.pass(time.Duration(rnd.Int64N(int64(2 * time.Hour))))
		}
	}
	w.pass(2*longest + time.Hour)
	for id, j := range w.jobs(ids) {
		t.Errorf("job %s is still there: %s, finished at %v, it owes %+v", id, j.Doc.State, j.Doc.FinishedAt,
			fold.NextDebt(&j, time.Now()))
	}
	w.checkTimers()
	w.end()
}

// anew restarts the shard after a while in which others write, and compares its documents with those from before.
func (w *world) anew(rnd *rand.Rand, others func()) {
	w.t.Helper()
	w.pass(time.Second)
	before := w.checkAll("before")
	how := []string{"in order", "after a crash", "from the log"}[rnd.IntN(3)]
	crashed := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rnd})
	w.end()
	switch how {
	case "after a crash":
		w.fs = crashed
	case "from the log":
		w.fs = newWorld(w.t).fs
	}
	for range rnd.IntN(3) {
		time.Sleep(time.Duration(rnd.Int64N(int64(time.Hour))))
		others()
	}
	w.start()
	synctest.Wait()
	for id, doc := range w.checkAll("anew") {
		if was := before[id]; was != nil && was.Version == doc.Version && string(was.Document) != string(doc.Document) {
			w.t.Errorf("%s: job %s was\n%s and is\n%s", how, id, was.Document, doc.Document)
		}
	}
}

// checkTimers folds the log with the times at which its records were truly appended, and checks that timers' events
// came no earlier than the rules allow.
func (w *world) checkTimers() {
	w.t.Helper()
	jobs := map[string]*fold.Job{}
	for _, rec := range w.log(names.Status()) {
		e, err := event.Decode(rec.Value)
		if err != nil || rec.Timestamp.Year() > maxYear {
			continue // a dead letter
		}
		j, truth := jobs[e.JobID], w.times[rec.Offset]
		r := fold.Fold(j, &e, fold.Meta{Offset: rec.Offset, Time: stamp(rec), ByWriter: true, Clock: truth})
		if due, timer := mayCome(j, &e); r.Changed && timer && truth.Before(due.Add(-stampTolerance-time.Second)) {
			w.t.Errorf("job %s: %s came %s early", e.JobID, e.Type, due.Sub(truth))
		}
		jobs[e.JobID] = r.Job
	}
}

// mayCome returns the earliest time for a timer's event that the job was given the true times of its events for.
func mayCome(j *fold.Job, e *event.Event) (due time.Time, timer bool) {
	if j == nil {
		return due, false
	}
	p := &j.Policy
	switch e.Type {
	case event.LeaseExpired:
		return j.RenewedAt.Add(p.Lease.Duration()), true
	case event.AttemptTimedOut:
		return j.Doc.StartedAt.Add(-j.Skew).Add(p.Timeout.Duration()), true
	case event.CancelForced:
		return j.CancelAt.Add(p.Grace.Duration()), j.CancelAt != nil
	case event.DeadlineExceeded:
		return j.RoundAt.Add(p.Deadline.Duration()), true
	case event.Expired:
		return j.Doc.FinishedAt.Add(-j.Skew).Add(p.Retention.Duration()), true
	case event.Requeued:
		if j.Doc.State == job.Scheduled {
			return *j.Doc.RunAt, true
		}
		return j.Doc.RetryAt.Add(-j.Skew), true
	}
	return due, false
}

// TestTheFirstRecordAfterARestart: it has no other record to be compared with, and its time counts for nothing all
// the same. Each case was once an end that came at once.
func TestTheFirstRecordAfterARestart(t *testing.T) {
	for _, stamped := range []time.Duration{-26 * time.Hour, -2 * time.Hour, -time.Minute, 55 * time.Minute} {
		t.Run(fmt.Sprint(stamped), func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				id, ended := jobIDs(2)[0], jobIDs(2)[1]
				w.set(func() { w.stamps = time.Now })
				w.submit(ended)
				w.claim(ended, "r1")
				w.pass(time.Second)
				w.end()
				time.Sleep(30 * time.Minute)
				w.set(func() { w.stamps = func() time.Time { return time.Now().Add(stamped) } })
				w.submit(id, with(func(p *job.Policy) { p.Deadline = job.Seconds(time.Minute) }))
				w.append(ended, event.Completed)
				w.set(func() { w.stamps = time.Now })
				w.start()
				w.pass(time.Minute - stampTolerance - time.Second)
				w.wantState("its deadline is a minute", id, job.Pending)
				w.wantState("it is kept for an hour", ended, job.Completed)
				w.pass(stampTolerance + 2*time.Second)
				w.wantState("its deadline was a minute", id, job.Failed)
				w.pass(retention - 2*time.Minute)
				w.wantState("it is kept for an hour", ended, job.Completed)
				w.pass(2 * time.Minute)
				if j := w.peek(ended); j != nil {
					t.Errorf("job %s is kept for longer than its retention: %+v", ended, j.Doc)
				}
			})
		})
	}
}

// TestAGraceIsNotEndedByAWritersTime: after a takeover a run has a part of its lease to say that it lives, unless
// others were heard of since. The time of an old record does not show that.
func TestAGraceIsNotEndedByAWritersTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id, other := jobIDs(2)[0], jobIDs(2)[1]
		w.set(func() { w.stamps = time.Now })
		w.submit(id)
		w.claim(id, "r1")
		w.pass(time.Second)
		w.end()
		w.set(func() { w.stamps = func() time.Time { return time.Now().Add(30 * time.Minute) } })
		w.submit(other)
		w.set(func() { w.stamps = time.Now })
		time.Sleep(10 * time.Minute) // without Kafka
		w.start()
		w.pass(lease / 4)
		w.wantAppended("it may still say so", event.LeaseExpired, 0)
		w.append(id, event.Beat)
		w.pass(lease / 2)
		w.wantState("it was heard of", id, job.Processing)
	})
}

// TestWrongTimesAreSaid: each is counted, and each way to be wrong is logged once a minute, with whose record it was.
func TestWrongTimesAreSaid(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		said := &lines{}
		w.end()
		w.logTo = said
		w.start()
		synctest.Wait()
		ids := jobIDs(4)
		for round := range 3 {
			for i, off := range []time.Duration{maxAhead, -26 * time.Hour, maxAhead, -26 * time.Hour} {
				w.set(func() { w.stamps = func() time.Time { return time.Now().Add(off) } })
				if round == 0 {
					w.submit(ids[i])
				} else {
					w.claim(ids[i], fmt.Sprint("r", round))
				}
			}
			w.set(func() { w.stamps = time.Now })
			w.pass(20 * time.Second)
		}
		for _, is := range []wrong{timeAhead, timeBehind} {
			w.wantMetric(string(is), w.metrics.wildStamps.WithLabelValues(string(is)), 6)
			if n := said.count("a record's time cannot be true", "is="+string(is)); n != 1 {
				t.Errorf("%s was said %d times within a minute, want once", is, n)
			}
		}
		w.set(func() { w.stamps = func() time.Time { return time.Now().Add(maxAhead) } })
		w.pass(time.Minute)
		w.append(ids[0], event.Beat)
		if n := said.count("is=ahead", "type=beat", "worker=worker-of-r1", "key="+ids[0]); n != 1 {
			t.Errorf("the log does not name the record's writer: %q", said.all)
		}
	})
}

// TestALateReaderComplainsOfNobody: a record that waited for the shard has an old time, and that is true.
func TestALateReaderComplainsOfNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.set(func() { w.stamps, w.paused = time.Now, true })
		ids := jobIDs(3)
		for _, id := range ids {
			w.submit(id)
		}
		time.Sleep(time.Minute)
		w.set(func() { w.paused = false })
		synctest.Wait()
		for _, is := range []wrong{timeAhead, timeBehind} {
			w.wantMetric(string(is), w.metrics.wildStamps.WithLabelValues(string(is)), 0)
		}
	})
}

// TestABrokerThatDoesNotMarkItsTimes is told of by the configuration: its times count like any broker's.
func TestABrokerThatDoesNotMarkItsTimes(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.brokerTimes, w.stamps = true, time.Now
		w.start()
		id := jobIDs(1)[0]
		w.submit(id, with(func(p *job.Policy) { p.Deadline = job.Seconds(time.Minute) }))
		w.pass(30 * time.Second)
		w.end()
		w.fs = newWorld(t).fs
		w.start()
		w.pass(31 * time.Second)
		w.wantState("the log tells when it was accepted", id, job.Failed)
		w.end()
	})
}

// lines is a log.
type lines struct {
	mu  sync.Mutex // guards all
	all []string
}

// Write implements io.Writer.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(line))
	return len(line), nil
}

// count returns how many lines have all the words.
func (l *lines) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(line, word) }) {
			n++
		}
	}
	return n
}
