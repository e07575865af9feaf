package bulkjob

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
)

// TestThePaceFollowsWhatOrdersTake: it rises to its bound while they are quick, falls to the slowest while they take
// long or are refused, and rises again.
func TestThePaceFollowsWhatOrdersTake(t *testing.T) {
	p := newPace(300)
	orders := func(n int, took time.Duration) {
		for range n {
			p.ordered(took)
		}
	}
	orders(20*adaptAfter, 10*time.Millisecond)
	if got := p.perSecond(); got != 300 {
		t.Errorf("%g a second while orders are quick", got)
	}
	orders(10*adaptAfter, 55*time.Millisecond) // not so much slower
	if got := p.perSecond(); got != 300 {
		t.Errorf("%g a second while orders are a little slower", got)
	}
	orders(20*adaptAfter, time.Second)
	if got := p.perSecond(); got != slowest {
		t.Errorf("%g a second while orders are slow", got)
	}
	orders(30*adaptAfter, 10*time.Millisecond)
	if got := p.perSecond(); got != 300 {
		t.Errorf("%g a second when they are quick again", got)
	}
	for range 10 {
		p.refused()
	}
	if got := p.perSecond(); got != slowest {
		t.Errorf("%g a second while orders are refused", got)
	}
	if got := newPace(2).perSecond(); got > 2 {
		t.Errorf("%g a second, of 2 at most", got)
	}
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
