package fold

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// FuzzClocks folds one log on a topic whose records have the times of their writers, as three trackers that read it
// at different times, the third one with true times of records, too. All take the same events, give the same orders
// and, if the records' times are the same, have the same documents.
func FuzzClocks(f *testing.F) {
	for seed := range uint64(300) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var live, late, honest *Job
		truth := t0
		for offset := range int64(5 + rnd.IntN(60)) {
			truth = truth.Add(time.Duration(rnd.Int64N(int64(time.Hour))))
			if rnd.IntN(10) == 0 {
				truth = truth.Add(72 * time.Hour)
			}
			said := anyTime(rnd, truth)
			b := byte(0)
			if rnd.IntN(3) == 0 {
				b = byte(rnd.UintN(256))
			}
			e := fuzzEvent(live, byte(rnd.UintN(256)), b, byte(rnd.UintN(256)))
			at := func(stamped, clock time.Time) Meta {
				return Meta{Offset: offset, Time: stamped, ByWriter: true, Clock: clock}
			}
			one := Fold(live, e, at(said, truth))
			two := Fold(late, e, at(said, anyTime(rnd, truth)))
			three := Fold(honest, e, at(truth, truth))
			for _, other := range []Result{two, three} {
				if one.Changed != other.Changed || one.Reason != other.Reason || !reflect.DeepEqual(one.Orders, other.Orders) {
					t.Fatalf("offset %d, %s: %q and %q, orders %v and %v", offset, e.Type, one.Reason, other.Reason, one.Orders,
						other.Orders)
				}
			}
			live, late, honest = one.Job, two.Job, three.Job
			if live == nil || late == nil {
				if live != late {
					t.Fatalf("offset %d, %s: one tracker has no job", offset, e.Type)
				}
				continue
			}
			if a, b := string(live.Document()), string(late.Document()); a != b {
				t.Fatalf("offset %d, %s: documents differ:\n%s\n%s", offset, e.Type, a, b)
			}
		}
	})
}

// anyTime returns the true time, or another time that a shard may pass to Fold.
func anyTime(rnd *rand.Rand, truth time.Time) time.Time {
	far := time.Date(2200, 12, 31, 0, 0, 0, 0, time.UTC)
	switch rnd.IntN(5) {
	case 0:
		return truth
	case 1:
		return time.UnixMilli(0)
	case 2:
		return far
	case 3:
		return time.UnixMilli(rnd.Int64N(far.UnixMilli()))
	}
	return truth.Add(time.Duration(rnd.Int64N(int64(120*time.Hour))) - 60*time.Hour)
}

// byWriter appends and folds an event with a time of its writer's, which is off by a duration from the truth.
func (l *log) byWriter(off time.Duration, typ event.Type, mods ...mod) Result {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	l.last = Fold(l.job, an(l.t, typ, mods...), Meta{Offset: l.next, Time: l.now.Add(off), ByWriter: true, Clock: l.now})
	l.job = l.last.Job
	l.next++
	return l.last
}

// years is 146 years, so that a time of today's with it can still be written.
const years = time.Duration(math.MaxInt64) / 2

// TestRuleAWorkersClockLosesNoJob: a claim that overtook accepted was once refused because the worker's clock was
// ahead, so that the request seemed old. Its offset was committed then, and nobody had the job.
func TestRuleAWorkersClockLosesNoJob(t *testing.T) {
	l := newLog(t)
	if r := l.byWriter(100*24*time.Hour, event.Claimed, requestedAt(t0)); !r.Changed {
		t.Fatalf("refused: %s", r.Reason)
	}
}

// TestRuleNoRetentionEndsByAWritersTime: neither too early nor never.
func TestRuleNoRetentionEndsByAWritersTime(t *testing.T) {
	for _, off := range []time.Duration{-26 * time.Hour, 0, 55 * time.Minute, years} {
		l := newLog(t)
		l.byWriter(0, event.Accepted)
		l.byWriter(0, event.Claimed)
		l.byWriter(off, event.Completed)
		want := l.now.Add(l.job.Policy.Retention.Duration())
		if d := NextDebt(l.job, l.now); d.Kind != Expiry || !d.At.Equal(want) {
			t.Errorf("off by %s: it owes %+v, want its expiry at %s", off, d, want)
		}
		l.now = want
		l.took("by a broker that gives the times from now on", event.Expired)
	}
}

// TestRuleAWritersTimeTaintsLaterOnes: a time that was raised to a writer's is not the broker's.
func TestRuleAWritersTimeTaintsLaterOnes(t *testing.T) {
	l := newLog(t)
	l.byWriter(years, event.Accepted)
	l.took("", event.Claimed)
	l.took("", event.Completed)
	if !l.job.ByWriter || !l.job.UpdatedAt().Equal(l.now) {
		t.Errorf("by its writer: %v, changed at %s, want %s", l.job.ByWriter, l.job.UpdatedAt(), l.now)
	}
	l.now = l.now.Add(l.job.Policy.Retention.Duration())
	l.took("the retention is over", event.Expired)
}

// TestRuleInabilityEndsWhateverTheClocksSay: after pauses that add up to the bound.
func TestRuleInabilityEndsWhateverTheClocksSay(t *testing.T) {
	l := newLog(t)
	l.byWriter(0, event.Accepted)
	began := l.now
	rnd := rand.New(rand.NewPCG(1, 1))
	for l.job.Doc.State != job.Failed {
		off := []time.Duration{0, 55 * time.Minute, -26 * time.Hour, 25 * time.Hour, years}[rnd.IntN(5)]
		l.byWriter(off, event.Claimed, dispatch(l.job.Dispatch))
		l.byWriter(off, event.Released, dispatch(l.job.Dispatch), unable("no_handler"))
		if l.job.Doc.State == job.Retrying {
			l.now = l.job.Doc.RetryAt.Add(-l.job.Skew)
		}
		if l.now.Sub(began) > 2*job.MaxUnserved {
			t.Fatal("it never ends")
		}
	}
	if after := l.now.Sub(began); after < job.MaxUnserved {
		t.Errorf("it ended after %s", after)
	}
}
