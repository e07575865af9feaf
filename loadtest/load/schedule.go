package load

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/ackwire/ackwire/loadtest/scenario"
)

// schedule computes the times at which submits are due. They follow only from the scenario and its seed, and do not
// depend on the server.
type schedule struct {
	phases  []scenario.Phase
	poisson bool
	random  *rand.Rand

	phase int
	begin time.Duration // of the phase
	done  float64       // arrivals of the phase so far: the integral of its rate
}

func newSchedule(s *scenario.Scenario) *schedule {
	return &schedule{phases: s.Phases, poisson: s.Poisson, random: rand.New(rand.NewPCG(s.Seed, 1))}
}

// next returns when the next submit is due, and in which phase; false when there is none.
func (s *schedule) next() (at time.Duration, phase int, ok bool) {
	step := 1.0
	if s.poisson {
		step = s.random.ExpFloat64()
	}
	const rounding = 1e-9
	for s.phase < len(s.phases) {
		p := s.phases[s.phase]
		if s.done+step <= p.Arrivals()+rounding {
			s.done += step
			return s.begin + when(p, s.done), s.phase, true
		}
		step -= p.Arrivals() - s.done
		s.begin += p.Duration
		s.phase++
		s.done = 0
	}
	return 0, 0, false
}

// when returns the time t at which the integral of the rate from 0 to t is n, for a rate that changes linearly.
func when(p scenario.Phase, n float64) time.Duration {
	d := p.Duration.Seconds()
	slope := (p.To - p.From) / d
	t := n / max(p.From, 1e-12)
	if slope != 0 {
		// from·t + slope/2·t² = n: the root within the phase, in the form that is exact for small
		// slopes.
		root := math.Sqrt(max(p.From*p.From+2*slope*n, 0))
		t = 2 * n / (p.From + root)
	}
	return time.Duration(min(t, d) * float64(time.Second))
}

// mix chooses kinds of jobs at random, by weight.
type mix struct {
	random *rand.Rand
	upTo   []float64
}

func newMix(s *scenario.Scenario) *mix {
	m := &mix{random: rand.New(rand.NewPCG(s.Seed, 2))}
	sum := 0.0
	for _, j := range s.Jobs {
		sum += j.Weight
		m.upTo = append(m.upTo, sum)
	}
	return m
}

func (m *mix) next() int {
	x := m.random.Float64() * m.upTo[len(m.upTo)-1]
	for i, upTo := range m.upTo {
		if x < upTo {
			return i
		}
	}
	return len(m.upTo) - 1
}
