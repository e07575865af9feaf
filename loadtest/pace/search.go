package pace

import (
	"context"
	"errors"
	"math"
	"strconv"
)

// Search finds the highest rate that a system holds: up in steps until a rate is not held, then by bisection.
//
// A machine is noisy, so one trial decides nothing. A rate is given up when it was not held twice, and the result is a
// rate that was held twice, which at most one trial contradicts.
type Search struct {
	From      float64 // the first rate
	Most      float64 // no rate above is tried
	Precision float64 // the search ends when the rate above is at most this much higher, as a share
}

const (
	grow    = 1.5 // factor of a step up
	shrink  = 4   // divisor of a step down, while no rate was held
	deepest = 100 // no rate below From divided by this is tried
	twice   = 2   // trials that decide
)

// Validate joins all problems of the settings.
func (s Search) Validate() error {
	var problems []error
	if !(s.From > 0) {
		problems = append(problems, errors.New("from must be above 0"))
	}
	if !(s.Most >= s.From) || math.IsInf(s.Most, 0) {
		problems = append(problems, errors.New("most must not be below from"))
	}
	if !(s.Precision > 0 && s.Precision < 1) {
		problems = append(problems, errors.New("precision must be between 0 and 1"))
	}
	return errors.Join(problems...)
}

// Trial is a rate that was tried, and whether the system held it.
type Trial struct {
	Rate float64
	Held bool
}

// tried has the trials of one rate.
type tried struct {
	rate         float64
	held, missed int
}

func (t tried) givenUp() bool { return t.missed >= twice }

// interval returns the lowest rate that was given up, and the highest below it that was held; nil if there is none.
// open is the rate of which the only trial so far was a miss.
func interval(past []Trial) (low, high, open *tried) {
	rates := map[float64]*tried{}
	for _, p := range past {
		t := rates[p.Rate]
		if t == nil {
			t = &tried{rate: p.Rate}
			rates[p.Rate] = t
		}
		if p.Held {
			t.held++
		} else {
			t.missed++
		}
	}
	for _, t := range rates {
		if t.givenUp() && (high == nil || t.rate < high.rate) {
			high = t
		}
	}
	for _, t := range rates {
		switch {
		case high != nil && t.rate >= high.rate:
		case t.held == 0:
			open = t
		case low == nil || t.rate > low.rate:
			low = t
		}
	}
	return low, high, open
}

// Next returns the rate to try after those of the past; false when the search has ended.
func (s Search) Next(past []Trial) (rate float64, more bool) {
	low, high, open := interval(past)
	switch {
	case open != nil:
		return open.rate, true // its miss may have been noise
	case low == nil && high == nil:
		return s.From, true
	case low == nil:
		rate = rounded(high.rate / shrink)
		return rate, rate >= s.From/deepest && rate > 0
	case high == nil && low.rate < s.Most:
		return min(rounded(low.rate*grow), s.Most), true
	}
	if high != nil && high.rate > low.rate*(1+s.Precision) {
		if rate = rounded(math.Sqrt(low.rate * high.rate)); rate > low.rate && rate < high.rate {
			return rate, true
		}
	}
	return low.rate, low.held < twice // to confirm it
}

// Best returns the highest rate that the system held; false if it held none.
func (s Search) Best(past []Trial) (rate float64, ok bool) {
	low, _, _ := interval(past)
	if low == nil {
		return 0, false
	}
	return low.rate, true
}

// rounded returns a rate with three digits, which is easier to read and precise enough.
func rounded(rate float64) float64 {
	rate, _ = strconv.ParseFloat(strconv.FormatFloat(rate, 'g', 3, 64), 64)
	return rate
}

// Run searches with steps made from the step, of which only the rate changes. Each result is given to tell with whether
// it held. The rate is 0 if the system held none.
func (s Search) Run(ctx context.Context, step Step, b Bounds, do Job, tell func(Result, bool)) (float64, error) {
	if err := s.Validate(); err != nil {
		return 0, err
	}
	step.Behind = b.Behind()
	var past []Trial
	for {
		rate, more := s.Next(past)
		if !more {
			rate, _ = s.Best(past)
			return rate, nil
		}
		step.Rate = rate
		r, err := step.Run(ctx, do)
		if err != nil {
			return 0, err
		}
		held := b.Hold(r)
		tell(r, held)
		past = append(past, Trial{rate, held})
	}
}
