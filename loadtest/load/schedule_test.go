package load

import (
	"math"
	"testing"
	"time"

	"github.com/ackwire/ackwire/loadtest/scenario"
)

func all(s *scenario.Scenario) (at []time.Duration, phases []int) {
	d := newSchedule(s)
	for {
		t, phase, ok := d.next()
		if !ok {
			return at, phases
		}
		at, phases = append(at, t), append(phases, phase)
	}
}

func TestUniformArrivalsComeEvenly(t *testing.T) {
	at, _ := all(&scenario.Scenario{Phases: []scenario.Phase{{Duration: 2 * time.Second, From: 10, To: 10}}})
	if len(at) != 20 {
		t.Fatalf("%d arrivals, want 20", len(at))
	}
	for i, got := range at {
		if want := time.Duration(i+1) * 100 * time.Millisecond; (got - want).Abs() > time.Microsecond {
			t.Errorf("arrival %d at %v, want %v", i, got, want)
		}
	}
}

// A phase without arrivals passes, a ramp has its mean, and each arrival is in its phase.
func TestPhasesFollowOneAnother(t *testing.T) {
	s := &scenario.Scenario{Phases: []scenario.Phase{
		{Duration: time.Second, From: 10, To: 10},
		{Duration: 5 * time.Second},
		{Duration: 10 * time.Second, From: 0, To: 100},
		{Duration: 10 * time.Second, From: 100, To: 0},
	}}
	for _, s.Poisson = range []bool{false, true} {
		at, phases := all(s)
		var n [4]float64
		for i, p := range phases {
			n[p]++
			begin := []time.Duration{0, time.Second, 6 * time.Second, 16 * time.Second}[p]
			if at[i] < begin || at[i] > begin+s.Phases[p].Duration || i > 0 && at[i] < at[i-1] {
				t.Fatalf("arrival %d of phase %d at %v, the one before at %v", i, p, at[i], at[max(0, i-1)])
			}
		}
		for p, got := range n {
			want := s.Phases[p].Arrivals()
			room := 0.0
			if s.Poisson {
				room = 4 * math.Sqrt(want) // the seed is fixed: this holds or it does not
			}
			if math.Abs(got-want) > room {
				t.Errorf("poisson %v: phase %d has %v arrivals, want about %v", s.Poisson, p, got, want)
			}
		}
	}
}

func TestARampsRateRises(t *testing.T) {
	at, _ := all(&scenario.Scenario{Phases: []scenario.Phase{{Duration: 10 * time.Second, From: 0, To: 100}}})
	first := 0
	for _, a := range at {
		if a <= 5*time.Second+time.Microsecond {
			first++
		}
	}
	if len(at) != 500 || first != 125 {
		t.Errorf("%d arrivals, of them %d in the first half; want 500 and 125", len(at), first)
	}
}

func TestTheSeedFixesTheSchedule(t *testing.T) {
	s := &scenario.Scenario{Poisson: true, Seed: 7, Phases: []scenario.Phase{{Duration: time.Second, From: 100, To: 100}}}
	a, _ := all(s)
	b, _ := all(s)
	other := *s
	other.Seed = 8
	c, _ := all(&other)
	if len(a) == 0 || len(a) != len(b) || a[0] != b[0] || a[0] == c[0] {
		t.Errorf("%v, %v, %v", a[0], b[0], c[0])
	}
}

func TestTheMixFollowsTheWeights(t *testing.T) {
	m := newMix(&scenario.Scenario{Seed: 1, Jobs: []scenario.Job{{Weight: 3}, {Weight: 0}, {Weight: 1}}})
	var n [3]int
	for range 4000 {
		n[m.next()]++
	}
	if n[1] != 0 || n[0] < 2850 || n[0] > 3150 {
		t.Errorf("%v", n)
	}
}
