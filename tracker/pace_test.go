package tracker

import (
	"math"
	"testing"
	"time"
)

// second is what a tick a second later sees.
type second struct{ waiting, starts int64 }

func seconds(n int, s second) (all []second) {
	for range n {
		all = append(all, s)
	}
	return all
}

func joined(parts ...[]second) (all []second) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// TestPace: starts count while jobs wait, whatever the lane's speed.
func TestPace(t *testing.T) {
	everyTen := func(times int) (all []second) { // a start every 10 s
		for range times {
			all = append(all, joined(seconds(9, second{50, 0}), seconds(1, second{50, 1}))...)
		}
		return all
	}
	for _, c := range []struct {
		name string
		run  []second
		want float64
	}{
		{"nothing was ever seen", nil, 0},
		{"no job waits, and some start", seconds(60, second{0, 5}), 0},
		{"jobs wait, and none starts", seconds(60, second{10, 0}), 0},
		{"a steady lane", seconds(60, second{100, 7}), 7},
		{"a fast one at once", seconds(3, second{100, 2000}), 2000},
		{"a slow one", everyTen(20), 0.1},
		{"it does not fall between two starts", joined(everyTen(20), seconds(8, second{50, 0})), 0.1},
		{"an idle night is not forgotten, and does not count",
			joined(seconds(60, second{100, 7}), seconds(40_000, second{0, 0}), seconds(1, second{100, 0})), 7},
		{"jobs that wait for a moment only do not count",
			joined(seconds(60, second{100, 7}), seconds(30, second{0, 1}), []second{{3, 1}, {0, 1}}), 7},
		{"ten times as many workers", joined(seconds(60, second{100, 2}), seconds(60, second{100, 20})), 20},
		{"most workers leave", joined(seconds(60, second{100, 20}), seconds(100, second{100, 2})), 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p pace
			now, started := time.Unix(1e9, 0), int64(0)
			for _, s := range c.run {
				now, started = now.Add(time.Second), started+s.starts
				p.tick(now, s.waiting, started)
			}
			if got := p.perSecond(); math.Abs(got-c.want) > 0.1*c.want {
				t.Errorf("%.3f runs start per second, want about %.3f", got, c.want)
			}
		})
	}
}

// TestPaceFallsWhenWorkersAreGone: and ever further, the longer no run starts.
func TestPaceFallsWhenWorkersAreGone(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	for n := range int64(60) {
		now = now.Add(time.Second)
		p.tick(now, 100, 10*n)
	}
	last := p.perSecond()
	for _, wait := range []int{10, 100, 1000} {
		for range wait {
			now = now.Add(time.Second)
			p.tick(now, 100, 590)
		}
		if got := p.perSecond(); got >= last*0.9 {
			t.Errorf("after %d more seconds without a start the pace is %.3f, and was %.3f", wait, got, last)
		}
		last = p.perSecond()
	}
}

// TestPaceSkipsWhatItCannotKnow: starts of a time that was not measured are nobody's.
func TestPaceSkipsWhatItCannotKnow(t *testing.T) {
	var p pace
	now := time.Unix(1e9, 0)
	p.tick(now, 10, 1000)
	if n := p.tick(now.Add(time.Second), 10, 1003); n != 3 || p.perSecond() != 3 {
		t.Errorf("%d starts, %.3f per second", n, p.perSecond())
	}
	p.skip()
	if n := p.tick(now.Add(2*time.Second), 10, 9000); n != 0 || p.perSecond() != 3 {
		t.Errorf("after a skip: %d starts, %.3f per second", n, p.perSecond())
	}
	if n := p.tick(now.Add(2*time.Hour), 10, 20_000); n != 0 || p.perSecond() != 3 {
		t.Errorf("after two hours: %d starts, %.3f per second", n, p.perSecond())
	}
	if n := p.tick(now.Add(time.Hour), 10, 20_001); n != 0 || p.perSecond() != 3 {
		t.Errorf("with a clock that went back: %d starts, %.3f per second", n, p.perSecond())
	}
}
