package limits

import "time"

// room is an adaptive limit on the bytes of submits that are under way. It works like a congestion window (additive
// increase, multiplicative decrease): it shrinks while submits are slow and grows while they are quick and use it.
// Slow submits show that more bytes wait for Kafka, or for this machine, than it can take; without the limit all
// submits would queue behind them until they time out. Whether a submit is slow is measured against the quickest
// submits of the last minutes, since a broker that is far away is not overloaded. The limit does not apply to a
// single submit, nor to tenants below their share.
type room struct {
	size       int64         // the limit now, in bytes
	most       int64         // its upper bound: --submit-bytes
	slack      time.Duration // a submit is slow if it takes this much longer than twice the quickest
	best, last time.Duration // duration of the quickest submit in this window and in the one before; 0 for none
	since      time.Time     // when this window began
	shrunk     time.Time     // when the limit last shrank
}

const (
	firstRoom  = 16 << 20
	leastRoom  = 2 << 20
	roomWindow = 5 * time.Minute
	roomPause  = 500 * time.Millisecond // between two decreases, so that the first can take effect
)

func newRoom(most int64, slack time.Duration) room {
	return room{size: min(firstRoom, most), most: most, slack: slack}
}

// learn adapts the limit to a submit of that many bytes, which took that long. held is how many bytes are under way.
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
	case took > 2*base+r.slack:
		if now.Sub(r.shrunk) >= roomPause {
			r.size, r.shrunk = min(max(r.size*7/10, leastRoom), r.most), now
		}
	case 2*held > r.size:
		r.size = min(r.size+bytes/4, r.most)
	}
}
