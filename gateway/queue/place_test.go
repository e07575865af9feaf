package queue

import (
	"testing"
	"time"
)

func known(ahead int64) Place { return Place{Known: true, Ahead: ahead} }

func estimated(ahead int64, seconds float64) Place {
	return Place{Known: true, Ahead: ahead, Estimated: true, Estimate: seconds}
}

// TestPlace: what is said follows from the reports, and what does not is not said.
func TestPlace(t *testing.T) {
	for _, c := range []struct {
		name string
		lane lane
		own  int64
		age  time.Duration
		want Place
	}{
		{"jobs wait", lane{waiting: 200, pace: 4}, 0, 0, estimated(200, 50)},
		{"jobs wait, and none has started while they do", lane{waiting: 200}, 0, 0, known(200)},
		{"a burst of this gateway grows", lane{waiting: 200, pace: 4}, 40, 0, estimated(240, 60)},
		{"what starts meanwhile makes room for it", lane{waiting: 200, pace: 4}, 40, 2 * time.Second, estimated(232, 58)},
		{"but for nothing else", lane{waiting: 200, pace: 400}, 40, 2 * time.Second, estimated(200, 0.5)},
		{"a job that waited for a moment", lane{waiting: 1, started: 10}, 9, time.Second, known(1)},
		{"nobody waits, and there are workers", lane{served: true}, 0, 0, estimated(0, 0)},
		{"the workers' group is not known, but they have a pace", lane{pace: 3}, 0, 0, estimated(0, 0)},
		{"nobody waits, and nobody works", lane{}, 0, 0, known(0)},
		{"the second job of an idle lane", lane{served: true}, 1, 0, estimated(0, 0)},
		{"more than that may wait, or not", lane{served: true}, 2, 0, Place{}},
		{"as many as a second before", lane{served: true, started: 30}, 30, 0, estimated(0, 0)},
		{"in each second since", lane{served: true, started: 30}, 85, 2 * time.Second, estimated(0, 0)},
		{"but not more", lane{served: true, started: 30}, 95, 2 * time.Second, Place{}},
		{"a time that nobody will wait for", lane{waiting: 1_000_000, pace: 0.1}, 0, 0,
			Place{Known: true, Ahead: 1_000_000, Estimate: 10_000_000}},
		{"a clock that went back", lane{waiting: 7, pace: 1}, 3, -time.Hour, estimated(10, 10)},
	} {
		if got := c.lane.place(c.own, c.age); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestRounded: who may not know the numbers of others gets a class and one digit.
func TestRounded(t *testing.T) {
	for _, c := range []struct{ exact, want Place }{
		{Place{}, Place{}},
		{known(7), known(1)},
		{estimated(0, 0), estimated(0, 0)},
		{estimated(12, 3.4), estimated(10, 3)},
		{estimated(9_999, 0.4), estimated(1000, 0)},
		{estimated(200, 147), estimated(100, 100)},
		{estimated(200, 9.6), estimated(100, 10)},
		{estimated(200, 96_000), estimated(100, 100_000)},
	} {
		if got := c.exact.Rounded(); got != c.want {
			t.Errorf("%+v is rounded to %+v, want %+v", c.exact, got, c.want)
		}
	}
}
