package limits

import "time"

// room is how many bytes of submits may be under way at a time, but for one submit, which always
// may, and for tenants that are below their share of it. It is learned: a submit that takes
// long shows that more bytes wait for Kafka, or for this machine, than it can take in that time,
// and all submits wait behind them until they are given up on. So the room shrinks while submits are
// slow and grows while they are quick and use it, as a congestion window does (additive increase,
// multiplicative decrease). What is quick is told by the quickest submits of the last minutes: a
// broker that is far away is not an overloaded one.
type room struct {
	size       int64
	most       int64         // --submit-bytes
	best, last time.Duration // the quickest submit of this window and of the one before; 0: none
	since      time.Time     // when this window began
	shrunk     time.Time
}

const (
	firstRoom  = 16 << 20
	leastRoom  = 2 << 20
	roomSlack  = 300 * time.Millisecond // beyond twice the quickest submit a submit is slow
	roomWindow = 5 * time.Minute
	roomPause  = 500 * time.Millisecond // between two steps down: what was let in before must be seen to end
)

func newRoom(most int64) room { return room{size: min(firstRoom, most), most: most} }

// learn takes how long a submit of so many bytes took, of which held bytes are under way.
func (r *room) learn(now time.Time, took time.Duration, bytes, held int64) {
	switch {
	case r.since.IsZero() || now.Sub(r.since) > roomWindow:
		r.last, r.best, r.since = r.best, took, now
	case took < r.best:
		r.best = took
	}
	base := r.best
	if r.last > 0 {
		base = min(base, r.last)
	}
	switch {
	case took > 2*base+roomSlack:
		if now.Sub(r.shrunk) >= roomPause {
			r.size, r.shrunk = min(max(r.size*7/10, leastRoom), r.most), now
		}
	case 2*held > r.size:
		r.size = min(r.size+bytes/4, r.most)
	}
}
