package fold

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// letter is an event, and its writer's view of the job when it was written.
type letter struct {
	typ  event.Type
	mods []mod
}

// script is a life as its log has it: the second life of an ID looks like the first one in all
// but its request, its runs and its life.
func script(name string, requestAt int64) []letter {
	first := []mod{run(name + "-1"), from(requestAt)}
	second := []mod{dispatch(2), run(name + "-2"), from(requestAt + 1)}
	third := []mod{dispatch(3), run(name + "-3"), from(requestAt + 2)}
	mine := func(mods ...mod) []mod { return append(mods, life(name)) }
	return []letter{
		{event.Accepted, mine(from(requestAt))},
		{event.Claimed, mine(first...)},
		{event.Progress, first},
		{event.Failed, first},
		{event.Requeued, mine(dispatch(2), from(requestAt+1))},
		{event.Claimed, mine(second...)},
		{event.Beat, second},
		{event.Completed, second},
		{event.RetryRequested, mine()},
		{event.Requeued, mine(dispatch(3), from(requestAt+2))},
		{event.Claimed, mine(third...)},
		{event.CancelRequested, mine(round(1))},
		{event.Failed, third},
	}
}

// late is all that may still be written about a life that is over: by workers that were cut off,
// trackers that are no longer the owner, and gateways whose produce was slow.
func late(t *testing.T, name string, requestAt int64) (all []letter) {
	t.Helper()
	for _, l := range script(name, requestAt) {
		if l.typ != event.Accepted {
			all = append(all, l)
		}
	}
	for d := 1; d <= 3; d++ {
		r, at := fmt.Sprintf("%s-%d", name, d), requestAt+int64(d)-1
		ofRun := []mod{dispatch(d), run(r), from(at)}
		all = append(all,
			letter{event.Claimed, append(slices.Clone(ofRun), life(name))},
			// A redelivery: a new run, of the same request.
			letter{event.Claimed, append(slices.Clone(ofRun), run(r+"-again"), life(name))},
			letter{event.Beat, ofRun}, letter{event.Progress, ofRun}, letter{event.Completed, ofRun}, letter{event.Failed,
				ofRun}, letter{event.Released, ofRun},
			letter{event.LeaseExpired, append(slices.Clone(ofRun), life(name), renewal(1))},
			letter{event.AttemptTimedOut, append(slices.Clone(ofRun), life(name))},
			letter{event.Requeued, []mod{dispatch(d), from(at), life(name)}},
			letter{event.CancelForced, []mod{dispatch(d), life(name)}},
			letter{event.PayloadLost, []mod{dispatch(d), life(name), from(at)}},
			letter{event.PayloadLost, []mod{dispatch(d), life(name)}},
		)
	}
	for n := range 2 {
		for _, typ := range []event.Type{event.CancelRequested, event.RetryRequested, event.DeadlineExceeded, event.Expired} {
			all = append(all, letter{typ, []mod{round(n), life(name)}})
		}
	}
	return append(all, letter{event.CallbackQueued, []mod{told(1), life(name)}})
}

// TestNothingOfAFormerLifeIsTaken: between any two events of an ID's second life, whatever the
// first one's writers may still say changes nothing, so that both jobs end alike.
func TestNothingOfAFormerLifeIsTaken(t *testing.T) {
	const began = 1000 // the offset at which the second life begins, in both logs
	live := func(disturb func(l *log, step int)) []*Job {
		l := newLog(t)
		for _, s := range script("first", 100) {
			l.took("the first life", s.typ, s.mods...)
		}
		l.wantState("the first life has ended", job.Cancelled)
		l.now = l.now.Add(25 * time.Hour)
		l.took("it is forgotten", event.Expired, round(1), life("first"))
		l.next, l.now = began, l.now.Add(time.Hour)
		var all []*Job
		for i, s := range script("second", 200) {
			// Room for what is late, so that offsets and times are the same in both logs.
			l.next, l.now = began+int64(i)*1000, t0.Add(100*time.Hour+time.Duration(i)*time.Minute)
			l.took("the second life", s.typ, s.mods...)
			all = append(all, l.job)
			disturb(l, i)
		}
		return all
	}
	want := live(func(*log, int) {})
	dated := late(t, "first", 100)
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		got := live(func(l *log, step int) {
			now := l.now
			rnd.Shuffle(len(dated), func(i, j int) { dated[i], dated[j] = dated[j], dated[i] })
			for _, d := range dated {
				l.now = now // all at once, or the next step's time would differ
				was := l.job
				if r := l.add(d.typ, d.mods...); r.Changed || r.Job != was {
					t.Fatalf("seed %d, after event %d of the second life: %s of the first one was taken", seed, step, d.typ)
				}
			}
		})
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("seed %d: after event %d the job is\n%+v\nwant\n%+v", seed, i, got[i], want[i])
			}
		}
	}
}

// TestALifeIsNamedByItsFirstEvent: what says no life begins one all the same, and the tracker's
// own words are of it.
func TestALifeIsNamedByItsFirstEvent(t *testing.T) {
	l := newLog(t)
	l.next = 41
	l.took("", event.Accepted)
	if l.job.Life != "o41" {
		t.Fatalf("its life is %q", l.job.Life)
	}
	l.refused("an order of a former life", OtherLife, event.CancelRequested, life("o7"))
	l.took("an order of this one", event.CancelRequested, life("o41"))
	l.took("who names no life is believed", event.RetryRequested)
}

// TestAJobFromBeforeThereWereLives: jobs in a store that an older tracker wrote have no life.
func TestAJobFromBeforeThereWereLives(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted)
	l.job.Life = ""
	l.took("an event that names one fits", event.CancelRequested, life("o0"))
}
