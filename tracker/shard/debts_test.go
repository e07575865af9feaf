package shard

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// ledger is the debts of jobs at a time, with all that they need.
type ledger struct {
	debts
	now       time.Time
	log       paper
	handedOut []string
}

func newLedger(t *testing.T, stored ...*fold.Job) *ledger {
	l := &ledger{now: time2000()}
	out := senderTo(&l.log)
	clock := newLogClock(true, NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), quiet)
	jobs := newMemory(storeOf(t, stored...), func(e *entry) { l.disarm(e) })
	l.debts = newDebts(&jobs, &clock, &out, func(e *entry) { l.handedOut = append(l.handedOut, e.id) })
	return l
}

// add has the ledger know a job, which a run that holds it has just renewed.
func (l *ledger) add(j *fold.Job) *entry {
	e := &entry{id: j.Doc.JobID, job: j, index: -1, seen: l.now}
	l.jobs.keep(e)
	l.schedule(e)
	return e
}

// events lists what was appended: "type job".
func (l *ledger) events(t *testing.T) (all []string) {
	t.Helper()
	for _, rec := range l.log.records {
		e, err := event.Decode(rec.Value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s", e.Type, e.JobID))
	}
	l.log.records = nil
	return all
}

func (l *ledger) want(t *testing.T, why string, events ...string) {
	t.Helper()
	if got := l.events(t); !slices.Equal(got, events) {
		t.Errorf("%s: %v were appended, want %v", why, got, events)
	}
}

func TestDebtsArePaidUntilTheyAreFolded(t *testing.T) {
	l := newLedger(t)
	e := l.add(aJob("a", job.Processing))
	l.pay(l.now.Add(lease - 1))
	l.want(t, "the lease is not over")
	l.now = l.now.Add(lease)
	l.pay(l.now)
	l.want(t, "it is", "leaseExpired a")
	for wait := rearmMin; wait <= rearmMax; wait *= 2 {
		l.pay(l.now.Add(wait - 1))
		l.want(t, "the event may be on its way")
		l.now = l.now.Add(wait)
		l.pay(l.now)
		l.want(t, fmt.Sprintf("%s later it is not folded", wait), "leaseExpired a")
	}
	e.job, e.notBefore, e.tries = aJob("a", job.Failed), time.Time{}, 0 // now it is
	l.schedule(e)
	l.pay(l.now.Add(time.Hour))
	l.want(t, "nothing is owed any more")
}

// TestDebtsOfHandOuts: they are handed on, without a timer until they are over, but no job misses its deadline for it.
func TestDebtsOfHandOuts(t *testing.T) {
	l := newLedger(t)
	retrying := func(id string, deadline time.Duration) *entry {
		j := aJob(id, job.Retrying)
		at := l.now.Add(time.Second)
		j.Doc.RetryAt, j.Policy.Deadline = &at, job.Seconds(deadline)
		return l.add(j)
	}
	soon, late := retrying("soon", time.Hour), retrying("late", time.Second)
	l.now = l.now.Add(time.Second)
	l.pay(l.now)
	l.want(t, "its deadline has come", "deadlineExceeded late")
	if !slices.Equal(l.handedOut, []string{"soon"}) || soon.index >= 0 || late.index < 0 {
		t.Errorf("%v were handed out; their timers are %d and %d", l.handedOut, soon.index, late.index)
	}
	soon.paying = true
	if l.schedule(soon); soon.index >= 0 {
		t.Error("a hand-out that runs has a timer")
	}
}

func TestDebtsFollowTheLogsClock(t *testing.T) {
	l := newLedger(t)
	scheduled := aJob("a", job.Scheduled)
	at := l.now.Add(time.Minute)
	scheduled.Doc.RunAt = &at
	e := l.add(scheduled)
	l.clock.ahead.by = rearmShift
	if l.rearm(); !e.due.Equal(at) {
		t.Errorf("after a small move it is due at %s", e.due)
	}
	l.clock.ahead.by = time.Minute
	if l.rearm(); !e.due.Equal(at.Add(time.Minute)) || l.scheduledBy != time.Minute {
		t.Errorf("the local clock is a minute ahead, and it is due at %s", e.due)
	}
}

// TestDebtsAfterATakeover: a run that nobody has heard of for longer than its lease has a grace, and loses it when
// others were heard of since.
func TestDebtsAfterATakeover(t *testing.T) {
	l := newLedger(t)
	l.now = l.now.Add(time.Hour)
	for _, id := range []string{"silent", "heard"} {
		l.jobs.keep(&entry{id: id, job: aJob(id, job.Processing), index: -1})
	}
	l.jobs.all["heard"].job.RenewedAt = l.now.Add(-time.Second)
	l.begin(l.now)
	silent, heard := l.jobs.all["silent"], l.jobs.all["heard"]
	if got, want := silent.due, l.now.Add(leaseGrace(lease)); !got.Equal(want) {
		t.Errorf("the lease of a silent run ends at %s, want %s", got, want)
	}
	if got, want := heard.due, l.now.Add(lease-time.Second); !got.Equal(want) {
		t.Errorf("the lease of a run that was heard of ends at %s, want %s", got, want)
	}
	if l.endGrace(l.now); len(l.graced) != 1 {
		t.Fatalf("%d have a grace, and nobody was heard of since", len(l.graced))
	}
	l.clock.lastFolded = l.now
	l.endGrace(l.now)
	l.pay(l.now)
	l.want(t, "others were heard of", "leaseExpired silent")
}

func TestDebtsAreLoadedFromTheStore(t *testing.T) {
	var stored []*fold.Job
	for i, after := range []time.Duration{time.Second, dueHorizon + time.Minute} {
		j := aJob(fmt.Sprint(i), job.Scheduled)
		at := time2000().Add(after)
		j.Doc.RunAt = &at
		stored = append(stored, j)
	}
	l := newLedger(t, stored...)
	if err := l.load(l.now); err != nil {
		t.Fatal(err)
	}
	if len(l.jobs.all) != 1 || l.jobs.all["0"] == nil || l.jobs.all["0"].index < 0 {
		t.Errorf("in memory are %v", l.jobs.all)
	}
	if err := l.load(l.now.Add(time.Minute + time.Second)); err != nil {
		t.Fatal(err)
	}
	if len(l.jobs.all) != 2 || len(l.due) != 2 {
		t.Errorf("a minute later %d are in memory and %d have a timer", len(l.jobs.all), len(l.due))
	}
}

func TestDebtsExpire(t *testing.T) {
	l := newLedger(t, aJob("a", job.Completed), aJob("b", job.Pending))
	expire := func(now time.Time) {
		t.Helper()
		if err := l.expire(now); err != nil {
			t.Fatal(err)
		}
	}
	expire(l.now.Add(retention - 1))
	l.want(t, "the retention is not over")
	l.now = l.now.Add(retention)
	expire(l.now)
	l.want(t, "it is", "expired a")
	expire(l.now.Add(expiredRearm))
	l.want(t, "the event may be on its way")
	expire(l.now.Add(expiredRearm + 1))
	l.want(t, "it was not folded", "expired a")
	l.changed(&entry{id: "a", index: -1}) // removed, and born again
	l.jobs.keep(&entry{id: "a", job: aJob("a", job.Pending), index: -1})
	expire(l.now.Add(time.Hour))
	l.want(t, "it is another one, and the store does not know yet")
}
