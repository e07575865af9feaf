package measure

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within reports whether a latency is what it should be, to the histogram's precision.
func within(got, want time.Duration) bool {
	return got >= want-want/500-time.Microsecond && got <= want+want/500+time.Microsecond
}

func TestFailuresAreCountedAndHaveNoLatency(t *testing.T) {
	l := NewLatencies()
	l.Record(time.Hour, errors.New("no"))
	l.Record(time.Millisecond, nil)
	l.Record(-time.Second, nil) // a clock that was set back
	l.Record(10*time.Hour, nil) // longer than the histogram reaches
	if n, failed := l.Counts(); n != 3 || failed != 1 {
		t.Errorf("%d succeeded and %d failed", n, failed)
	}
	if got := l.Quantile(50); !within(got, time.Millisecond) {
		t.Errorf("p50 %v", got)
	}
	if got := l.Quantile(100); !within(got, time.Hour) {
		t.Errorf("the longest is told as %v", got)
	}
}

func TestSummary(t *testing.T) {
	l := NewLatencies()
	if s := l.Summary(); s.Count != 0 || s.Curve != nil {
		t.Errorf("of nothing: %+v", s)
	}
	for i := range 100 {
		l.Record(time.Duration(i+1)*time.Millisecond, nil)
	}
	s := l.Summary()
	near := func(got, want float64) bool { return got > want*0.99 && got < want*1.01 }
	if s.Count != 100 || !near(s.P50, 50) || !near(s.P90, 90) || !near(s.P99, 99) || !near(s.Max, 100) ||
		len(s.Curve) != len(Percentiles) {
		t.Errorf("%+v", s)
	}
	if n, p50, p99, most := l.take(); n != 100 || !near(p50, 50) || !near(p99, 99) || !near(most, 100) {
		t.Errorf("%d, %v, %v, %v", n, p50, p99, most)
	}
	if n, _, _, _ := l.take(); n != 0 {
		t.Errorf("%d left", n)
	}
}

// What the generator's side could not do is said, and only that.
func TestFindings(t *testing.T) {
	fine := Machine{Cores: 4, Lag: Summary{Count: 1000, P99: 0.2, Max: 1}, Busy: 0.5}
	ack := Summary{P50: 5}
	for _, c := range []struct {
		name     string
		change   func(*Machine, *Counts)
		embedded bool
		limited  bool
		says     string
	}{
		{"nothing", func(*Machine, *Counts) {}, false, false, "Nothing on the generator's side"},
		{"late", func(m *Machine, _ *Counts) { m.Lag.P99 = 3 }, false, true, "written 3.0 ms or more after"},
		{
			"late, of few", func(m *Machine, _ *Counts) { m.Lag.P99, m.Lag.Count = 3, 9 }, false, false,
			"Nothing on the generator's side",
		},
		{"full machine", func(m *Machine, _ *Counts) { m.BusyShare = 0.5 }, false, true, "in 50 % of the time"},
		{"own CPU", func(m *Machine, _ *Counts) { m.CPU = 3.9 }, false, true, "took 3.9 of 4 cores"},
		{
			"own CPU with the system in it", func(m *Machine, _ *Counts) { m.CPU = 3.9 }, true, false,
			"in the generator's own process",
		},
		{"scheduler", func(m *Machine, _ *Counts) { m.SchedP99 = 9 }, false, true, "waited 9.0 ms"},
		{"dropped", func(_ *Machine, c *Counts) { c.Dropped = 7 }, false, true, "7 arrivals were dropped"},
		{
			"descriptors", func(m *Machine, _ *Counts) { m.OutOfDescriptors, m.Descriptors = 3, 1024 }, false, true,
			"only 1024 descriptors",
		},
		{"ports", func(m *Machine, _ *Counts) { m.OutOfPorts = 3 }, false, true, "ran out of ports"},
		{"reads", func(m *Machine, _ *Counts) { m.GetsSkipped = 3 }, false, true, "3 GETs"},
		{"the server's bound", func(_ *Machine, c *Counts) { c.Delayed = 3 }, false, false, "3 submits had to wait"},
	} {
		m, n := fine, Counts{}
		c.change(&m, &n)
		m.judge(ack, n, c.embedded)
		found := false
		for _, f := range m.Findings {
			found = found || strings.Contains(f, c.says)
		}
		if !found || m.Limited != c.limited {
			t.Errorf("%s: limited %v, %q", c.name, m.Limited, m.Findings)
		}
	}
}
