package pace

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// found runs a search against a system that is a function, and returns the result and the trials.
func found(t *testing.T, s Search, holds func(rate float64) bool) (float64, []Trial) {
	t.Helper()
	var past []Trial
	for {
		rate, more := s.Next(past)
		if !more {
			best, _ := s.Best(past)
			return best, past
		}
		if rate > s.Most || rate < s.From/deepest || len(past) > 100 {
			t.Fatalf("trial %d at %v", len(past), rate)
		}
		past = append(past, Trial{rate, holds(rate)})
	}
}

func TestTheHighestRateIsFound(t *testing.T) {
	s := Search{From: 500, Most: 20_000, Precision: 0.05}
	below := func(limit float64) func(float64) bool { return func(rate float64) bool { return rate <= limit } }
	spike := false
	for _, c := range []struct {
		name      string
		holds     func(float64) bool
		low, high float64 // the result is between
		most      int     // trials
	}{
		{"a system that holds up to 3,000", below(3000), 2850, 3000, 16},
		{"a system that holds exactly the first rate", below(500), 500, 500, 18},
		{"a system below the first rate", below(37), 35, 37, 22},
		{"a system that never holds", below(0), 0, 0, 8},
		{"a system that always holds", below(math.MaxFloat64), 20_000, 20_000, 12},
		{"a system that holds all but once", func(rate float64) bool {
			if rate > 1000 && !spike {
				spike = true
				return false
			}
			return rate <= 3000
		}, 2850, 3000, 17},
	} {
		got, past := found(t, s, c.holds)
		if got < c.low || got > c.high || len(past) > c.most {
			t.Errorf("%s: %v after %d trials: %v", c.name, got, len(past), past)
		}
	}
}

// A system of which one trial in six below its limit, and one in six above, goes the wrong way.
func TestANoisySystemIsJudgedByMoreThanOneTrial(t *testing.T) {
	s := Search{From: 500, Most: 20_000, Precision: 0.05}
	near := 0
	const runs = 200
	for seed := range uint64(runs) {
		random := rand.New(rand.NewPCG(seed, 0))
		got, past := found(t, s, func(rate float64) bool { return (rate <= 3000) != (random.IntN(6) == 0) })
		held, missed := 0, 0
		for _, p := range past {
			switch {
			case p.Rate != got:
			case p.Held:
				held++
			default:
				missed++
			}
		}
		if held < twice || missed >= twice {
			t.Fatalf("seed %d: the result %v was held %d times and missed %d times: %v", seed, got, held, missed, past)
		}
		if got >= 2700 && got <= 3300 {
			near++
		}
	}
	if near < runs*6/10 {
		t.Errorf("only %d of %d searches ended near the limit", near, runs)
	}
}

// The rate of a confirmed result that misses afterwards is tried until two trials agree.
func TestAResultThatIsNotConfirmedIsGivenUp(t *testing.T) {
	s := Search{From: 100, Most: 100, Precision: 0.05}
	for _, c := range []struct {
		past []Trial
		next float64
		more bool
	}{
		{nil, 100, true},
		{[]Trial{{100, true}}, 100, true},
		{[]Trial{{100, true}, {100, true}}, 100, false},
		{[]Trial{{100, true}, {100, false}}, 100, true},
		{[]Trial{{100, true}, {100, false}, {100, true}}, 100, false},
		{[]Trial{{100, true}, {100, false}, {100, false}}, 25, true},
	} {
		if next, more := s.Next(c.past); next != c.next || more != c.more {
			t.Errorf("after %v: %v, %v", c.past, next, more)
		}
	}
}

func TestSettingsOfASearchThatCannotBeUsed(t *testing.T) {
	for want, s := range map[string]Search{
		"from":      {From: math.NaN(), Most: 1, Precision: 0.1},
		"most":      {From: 2, Most: 1, Precision: 0.1},
		"precision": {From: 1, Most: 1, Precision: 1},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if err := (Search{From: 1, Most: 1, Precision: 0.1}).Validate(); err != nil {
		t.Error(err)
	}
}
