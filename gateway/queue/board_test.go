package queue

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

var began = time.Unix(1e9, 0)

// of is a report of the partitions of a tracker, of four in all.
func of(partitions []int32, lanes ...*trackerpb.Queue) *trackerpb.Queues {
	return &trackerpb.Queues{Total: 4, Partitions: partitions, Lanes: lanes}
}

func waits(lane string, n int64, pace float64) *trackerpb.Queue {
	return &trackerpb.Queue{Lane: lane, Waiting: n, Pace: pace, Served: true}
}

// TestReportsOfAllPartitionsAreNeeded: a partition that is missing, or counted twice, may hide any number of jobs.
func TestReportsOfAllPartitionsAreNeeded(t *testing.T) {
	low, high := []int32{0, 1}, []int32{2, 3}
	for _, c := range []struct {
		name    string
		reports []*trackerpb.Queues
		want    Place
	}{
		{"none", nil, Place{}},
		{"one of two", []*trackerpb.Queues{of(low, waits("a", 5, 1))}, Place{}},
		{"both", []*trackerpb.Queues{of(low, waits("a", 5, 1)), of(high, waits("a", 7, 2))}, estimated(12, 4)},
		{"the lane is new to one", []*trackerpb.Queues{of(low, waits("a", 6, 1)), of(high)}, estimated(6, 3)},
		{"one counts it with others", []*trackerpb.Queues{of(low, waits("a", 6, 1)),
			{Total: 4, Partitions: high, Others: true}}, Place{}},
		{"one knows no pace, and is like the other", []*trackerpb.Queues{of(low, waits("a", 5, 1)),
			of(high, waits("a", 5, 0))}, estimated(10, 5)},
		{"one restores a partition", []*trackerpb.Queues{of(low, waits("a", 5, 1)), of(nil)}, Place{}},
		{"one has none", []*trackerpb.Queues{of([]int32{0, 1, 2, 3}, waits("a", 5, 1)), of(nil)}, estimated(5, 5)},
		{"one is in both", []*trackerpb.Queues{of(low, waits("a", 5, 1)), of([]int32{1, 2, 3})}, Place{}},
		{"another number of partitions", []*trackerpb.Queues{of(low), {Total: 3, Partitions: high}}, Place{}},
		{"partitions that there are not", []*trackerpb.Queues{of(low), of([]int32{-1, 7})}, Place{}},
		{"more than there may be", []*trackerpb.Queues{{Total: 1 << 30, Partitions: low}}, Place{}},
		{"numbers that cannot be", []*trackerpb.Queues{of(low, waits("a", -5, -1)), of(high)}, estimated(0, 0)},
	} {
		b := NewBoard([]string{"a"})
		for i, q := range c.reports {
			b.Note(uint64(i), q, began)
		}
		if got := b.Acked("a", began); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestOldReportsAreNotTold: nor those of a stream that has ended, nor of lanes that the gateway does not have.
func TestOldReportsAreNotTold(t *testing.T) {
	b := NewBoard([]string{"a"})
	all := []int32{0, 1, 2, 3}
	want := func(why string, at time.Duration, want Place) {
		t.Helper()
		if got := b.Acked("a", began.Add(at)); got != want {
			t.Errorf("%s: %+v, want %+v", why, got, want)
		}
	}
	b.Note(1, of(all, waits("a", 100, 0), waits("b", 3, 0)), began)
	want("a report", 0, known(100))
	want("it is as old as it may be", MaxAge, known(101))
	want("it is older", MaxAge+time.Millisecond, Place{})
	if got := b.Acked("b", began); got != (Place{}) {
		t.Errorf("of a lane without a job type: %+v", got)
	}
	b.Note(1, of(all, waits("a", 50, 0)), began.Add(10*time.Second))
	want("the next one counts what was acked before", 10*time.Second, known(50))
	b.Forget(2)
	want("another stream has ended", 10*time.Second, known(51))
	b.Forget(1)
	want("the stream has ended", 10*time.Second, Place{})
	var none *Board
	if got := none.Acked("a", began); got != (Place{}) {
		t.Errorf("of no board: %+v", got)
	}
}

// TestOwnJobsAreCountedByShare: a report counts the jobs of its own partitions only.
func TestOwnJobsAreCountedByShare(t *testing.T) {
	b := NewBoard([]string{"a"})
	b.Note(1, of([]int32{0, 1}, waits("a", 50, 0)), began)
	b.Note(2, of([]int32{2, 3}, waits("a", 50, 0)), began)
	for range 100 {
		b.Acked("a", began)
	}
	b.Note(1, of([]int32{0, 1}, waits("a", 100, 0)), began)
	if got := b.Acked("a", began); got != known(200) {
		t.Errorf("%+v, want the 150 of both reports and half of the 100 jobs", got)
	}
}

// TestAckedAllocatesNothing: an ack reads what is in memory.
func TestAckedAllocatesNothing(t *testing.T) {
	b := NewBoard([]string{"a"})
	b.Note(1, of([]int32{0, 1, 2, 3}, waits("a", 100, 5)), began)
	if n := testing.AllocsPerRun(100, func() { b.Acked("a", began) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAcked(b *testing.B) {
	board := NewBoard([]string{"a"})
	board.Note(1, of([]int32{0, 1, 2, 3}, waits("a", 100, 5)), began)
	b.ReportAllocs()
	for b.Loop() {
		board.Acked("a", began)
	}
}
