package bulkjob

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// TestThePaceFollowsWhatOrdersTake: it rises to its bound while they are quick, falls to the slowest while they take
// long or are refused, and rises again.
func TestThePaceFollowsWhatOrdersTake(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPace(300)
		orders := func(n int, took time.Duration) {
			for i := range n {
				p.ordered(took)
				if i%adaptAfter == adaptAfter-1 {
					time.Sleep(adaptWithin)
				}
			}
		}
		want := func(what string, perSecond float64) {
			t.Helper()
			if got := p.perSecond(); got != perSecond {
				t.Errorf("%s: %g a second, not %g", what, got, perSecond)
			}
		}
		orders(20*adaptAfter, 10*time.Millisecond)
		want("orders are quick", 300)
		orders(10*adaptAfter, 55*time.Millisecond) // not so much slower
		want("orders are a little slower", 300)
		orders(8*adaptAfter, time.Second)
		want("orders are slow", slowest)
		orders(30*adaptAfter, 10*time.Millisecond)
		want("they are quick again", 300)
		for range inFlight {
			p.refused()
		}
		want("orders are refused together", 150)
		for range 10 {
			time.Sleep(adaptWithin)
			p.refused()
		}
		want("orders are refused again and again", slowest)
		p = newPace(6000)
		for range 10 {
			p.refused()
			time.Sleep(adaptWithin)
		}
		want("as many as a sixtieth of the most are always given", 100)
		if got := newPace(2).perSecond(); got > 2 {
			t.Errorf("%g a second, of 2 at most", got)
		}
	})
}

// TestThePaceIsThatOfASlowerMachine: where orders have become slower for good the pace rises again, as it is not the
// bulk action that slows them down.
func TestThePaceIsThatOfASlowerMachine(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPace(300)
		for range 20 * adaptAfter {
			p.ordered(2 * time.Millisecond)
		}
		work := func(d time.Duration) {
			for began := time.Now(); time.Since(began) < d; {
				if err := p.wait(t.Context()); err != nil {
					t.Fatal(err)
				}
				p.ordered(80 * time.Millisecond)
			}
		}
		work(10 * time.Second)
		if got := p.perSecond(); got > 20 {
			t.Errorf("%g a second when orders have become slow", got)
		}
		work(2 * time.Minute)
		if got := p.perSecond(); got != 300 {
			t.Errorf("%g a second when they have been slow for two minutes", got)
		}
	})
}

func TestThePaceIsKept(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPace(100)
		began := time.Now()
		for range 1000 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.ordered(time.Millisecond)
		}
		if took := time.Since(began); took < 9*time.Second || took > 15*time.Second {
			t.Errorf("1000 orders took %s", took)
		}
	})
}
