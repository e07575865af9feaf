package tracker

import (
	"math"
	"time"
)

const (
	paceTime   = 10 * time.Second // a pace is an average over this time at least …
	paceStarts = 16               // … and over about so many starts
	longTick   = 3 * queuesInterval
)

// pace measures how many runs of a lane start per second while jobs wait for it. Time in which none waits does not
// count, for then runs start as jobs come, however fast the workers are. It is an exponentially weighted average whose
// memory is counted in starts, so a lane with ten starts an hour has a pace as well as one with a thousand a second.
type pace struct {
	starts float64 // weighted
	busy   float64 // weighted time in which they were, in seconds
	gap    float64 // seconds in which jobs waited since the last start

	// What the last tick saw.
	at      time.Time // zero: nothing to compare with
	waiting int64
	started int64
}

// tick takes how many jobs wait now and how many runs have ever started. It returns how many have since the last tick.
// Between two ticks that both see jobs wait, jobs waited.
func (p *pace) tick(now time.Time, waiting, started int64) (lately int64) {
	took := now.Sub(p.at)
	known := !p.at.IsZero() && took > 0 && took <= longTick
	busy := known && p.waiting > 0 && waiting > 0
	if known {
		lately = max(started-p.started, 0)
	}
	p.at, p.waiting, p.started = now, waiting, started
	switch {
	case !busy:
	case lately == 0:
		p.gap += took.Seconds()
	default:
		p.add(float64(lately), p.gap+took.Seconds())
		p.gap = 0
	}
	return lately
}

// add takes starts in a time in which jobs waited.
func (p *pace) add(starts, seconds float64) {
	memory := paceTime.Seconds()
	if p.starts > 0 {
		memory = max(memory, paceStarts*p.busy/p.starts)
	}
	fade := math.Exp(-seconds / memory)
	p.starts = p.starts*fade + starts
	p.busy = p.busy*fade + seconds
}

// skip has the next tick compare with nothing.
func (p *pace) skip() { p.at = time.Time{} }

// perSecond returns the pace; 0 if none is known. While the next start is overdue it falls.
func (p *pace) perSecond() float64 {
	switch {
	case p.starts == 0:
		return 0
	case p.gap*p.starts > p.busy:
		return (p.starts + 1) / (p.busy + p.gap)
	}
	return p.starts / p.busy
}
