package shard

import "sync/atomic"

// position is how far a shard has folded its log. Owned by the shard's goroutine.
type position struct {
	next     int64        // offset of the next record to fold
	closedAt int64        // see fold.Meta
	shown    atomic.Int64 // next, for others to read
}

// begin sets where the shard's state leaves off.
func (p *position) begin(next, closedAt int64) {
	p.next, p.closedAt = next, closedAt
	p.show()
}

// show has others read the position. A batch of records needs it once.
func (p *position) show() { p.shown.Store(p.next) }

// close notes the mark at an offset; false when an earlier one counts.
func (p *position) close(at int64) bool {
	if p.closedAt != 0 {
		return false
	}
	p.closedAt = at + 1
	return true
}

// closed reports whether the partition is closed.
func (p *position) closed() bool { return p.closedAt > 0 }
