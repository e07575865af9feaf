package shard

import "time"

// freshness is how much of the log's past a shard's answers are sure to contain.
type freshness struct {
	asOf    time.Time // all that the log held then has been folded
	end     int64     // the log's end …
	endedAt time.Time // … as it was then
}

// folded tells the broker's time of a record that was folded: what came before it was too.
func (f *freshness) folded(at time.Time) {
	if at.After(f.asOf) {
		f.asOf = at
	}
}

// ends tells where the log ended at a time.
func (f *freshness) ends(end int64, at time.Time, next int64) {
	f.end, f.endedAt = end, at
	f.reached(next)
}

// reached tells that all before next is folded.
func (f *freshness) reached(next int64) {
	if next >= f.end && f.endedAt.After(f.asOf) {
		f.asOf = f.endedAt
	}
}
