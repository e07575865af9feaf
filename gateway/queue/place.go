package queue

import (
	"math"
	"time"
)

// Place is what is known of a new job's place in its lane.
type Place struct {
	Known bool  // Ahead is
	Ahead int64 // jobs of all tenants that wait before it

	Estimated bool    // Estimate is
	Estimate  float64 // seconds until it starts
}

// maxEstimate is the longest estimate, in seconds: a longer one says no more than that nobody knows.
const maxEstimate = 30 * 24 * 3600

// lane is what all reports say of a lane.
type lane struct {
	waiting int64
	pace    float64 // runs that start per second while jobs wait; 0 is not known
	started int64   // runs that started in the second before the reports
	served  bool    // there are workers
}

// place returns the place of a job that is acked now. own is how many this gateway has acked since the reports, which
// are of that age.
//
// While jobs wait, those of the gateway wait too, but for as many as have started meanwhile; so the numbers of a burst
// grow. Jobs of other gateways are added by the next reports. If no job waited, as many as in the second before may
// have found a free worker; whether more do is not known.
func (l lane) place(own int64, age time.Duration) Place {
	seconds := max(age, 0).Seconds()
	if l.waiting == 0 {
		if own > max(1, int64(float64(l.started)*(1+seconds))) {
			return Place{}
		}
		return Place{Known: true, Estimated: l.served || l.pace > 0}
	}
	more := max(0, own-int64(max(l.pace, float64(l.started))*seconds))
	p := Place{Known: true, Ahead: l.waiting + more}
	if l.pace > 0 {
		p.Estimate = math.Round(float64(p.Ahead)/l.pace*10) / 10
		p.Estimated = p.Estimate <= maxEstimate
	}
	return p
}

// Rounded returns the place as a client sees it who may not know the numbers of others: the jobs ahead as their Class,
// and one digit of the estimate.
func (p Place) Rounded() Place {
	p.Ahead = Class(p.Ahead)
	p.Estimate = oneDigit(p.Estimate)
	return p
}

// Class returns the least number that has as many digits: 0, 1, 10, 100 and so on.
func Class(n int64) int64 {
	if n <= 0 {
		return 0
	}
	least := int64(1)
	for n >= 10 {
		n /= 10
		least *= 10
	}
	return least
}

// oneDigit rounds to 1 to 9 times a power of ten, and to whole seconds.
func oneDigit(seconds float64) float64 {
	unit := 1.0
	for seconds/unit >= 9.5 {
		unit *= 10
	}
	return math.Round(seconds/unit) * unit
}
