package processor

import "slices"

// partition is a lane's record of one partition while the lane owns it. If a partition is lost and assigned again it
// gets a new record, so that marks of older runs on the old one are never committed. All fields are guarded by the
// lane's mu.
type partition struct {
	number int32
	window window

	// backlogKnown is set once the end offset at the assignment is known; records below
	// backlog may be redeliveries.
	backlogKnown bool
	backlog      int64

	committed int64 // the last offset that was committed; -1 before the first
}

// mayBeRedelivery reports whether the record at offset may have been delivered to a worker
// before: it was in the partition at its assignment, or that is not known.
func (p *partition) mayBeRedelivery(offset int64) bool {
	return !p.backlogKnown || offset < p.backlog
}

// window finds the low-water mark of a partition: the offset below which the claim (or the dead letter) of every
// delivered record is durable. Claims become durable in any order. To commit the highest one, as the Kafka client's own
// marks do, could lose requests below it. It holds only the open offsets, so the slots bound it.
type window struct {
	open []int64 // offsets that are delivered and not marked, sorted
	next int64   // one above the last delivered offset
	used bool    // a record was delivered
}

// deliver adds the offset of a record that was delivered. Offsets rise, with gaps.
func (w *window) deliver(offset int64) {
	w.open = append(w.open, offset)
	w.next = offset + 1
	w.used = true
}

// mark removes an offset whose record need not be delivered again.
func (w *window) mark(offset int64) {
	if i, found := slices.BinarySearch(w.open, offset); found {
		w.open = slices.Delete(w.open, i, i+1)
	}
}

// low returns the offset to commit; ok is false before the first delivery.
func (w *window) low() (offset int64, ok bool) {
	if len(w.open) > 0 {
		return w.open[0], true
	}
	return w.next, w.used
}
