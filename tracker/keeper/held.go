package keeper

import (
	"bytes"
	"time"

	"github.com/ackwire/ackwire/schemas/stream"
)

// Bounds of the records that wait for the claim of their run.
const (
	maxHeld     = 4 << 20          // bytes of a partition
	holdFor     = 30 * time.Second // by the times of the topic's records, and by the local clock
	recordBytes = 256              // of memory that a record takes beside its value
)

// heldRecord is a record that waits.
type heldRecord struct {
	chunk  stream.Chunk
	offset int64
	stamp  time.Time // of the record
	since  time.Time // when it was read
	gone   bool      // it does not wait any more
}

// held is what waits in one partition, in the order of the topic.
type held struct {
	queue []*heldRecord
	of    map[string][]*heldRecord // by job
	bytes int64
	now   time.Time // the latest time of a record
}

func (r *heldRecord) size() int64 { return int64(len(r.chunk.Value)) + recordBytes }

// add has a record wait. The record's memory is not kept.
func (h *held) add(c stream.Chunk, offset int64, stamp, now time.Time) {
	c.Value = bytes.Clone(c.Value)
	r := &heldRecord{chunk: c, offset: offset, stamp: stamp, since: now}
	h.queue = append(h.queue, r)
	if h.of == nil {
		h.of = map[string][]*heldRecord{}
	}
	h.of[c.JobID] = append(h.of[c.JobID], r)
	h.bytes += r.size()
}

// resolve calls f with each record that waits of a job, in order; those for which it returns true do not wait any
// more.
func (h *held) resolve(id string, f func(*heldRecord) bool) {
	var rest []*heldRecord
	for _, r := range h.of[id] {
		if !f(r) {
			rest = append(rest, r)
			continue
		}
		h.leave(r)
	}
	h.set(id, rest)
}

func (h *held) set(id string, waiting []*heldRecord) {
	if len(waiting) == 0 {
		delete(h.of, id)
		return
	}
	h.of[id] = waiting
}

func (h *held) leave(r *heldRecord) {
	r.gone = true
	h.bytes -= r.size()
}

// overdue removes and returns the first record if it has waited for too long, or if too much waits; else nil.
func (h *held) overdue(now time.Time) (*heldRecord, outcome) {
	h.trim()
	if len(h.queue) == 0 {
		return nil, ""
	}
	r, why := h.queue[0], unknownRun
	switch {
	case h.bytes > maxHeld:
		why = crowded
	case h.now.Sub(r.stamp) <= holdFor && now.Sub(r.since) <= holdFor:
		return nil, ""
	}
	h.leave(r)
	h.set(r.chunk.JobID, h.of[r.chunk.JobID][1:]) // the first of all is the first of its job
	return r, why
}

// trim removes what does not wait from the front.
func (h *held) trim() {
	for len(h.queue) > 0 && h.queue[0].gone {
		h.queue[0] = nil
		h.queue = h.queue[1:]
	}
}

// first returns the offset of the first record that waits, or next if none does.
func (h *held) first(next int64) int64 {
	if h.trim(); len(h.queue) > 0 {
		return h.queue[0].offset
	}
	return next
}
