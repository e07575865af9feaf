package processor

import "slices"

// partition is what a lane knows about one partition while it owns it. A partition that is
// lost and assigned again is a new one: marks on the old one then change nothing that is
// ever committed. All of it is guarded by its lane's mu.
type partition struct {
	number int32
	window window

	// backlogKnown is set once the end offset at the assignment is known; records below
	// backlog may be redeliveries.
	backlogKnown bool
	backlog      int64

	committed int64 // the last offset that was committed, -1 before the first
}

// mayBeRedelivery reports whether the record at offset may have been handed to a worker
// before: it lay in the partition at its assignment, or nobody knows.
func (p *partition) mayBeRedelivery(offset int64) bool {
	return !p.backlogKnown || offset < p.backlog
}

// window finds the low-water mark: the offset below which every delivered record has its
// claim (or its dead letter) durable. Records are finished in any order; committing the
// highest finished one would lose those below it, which is why the library's own
// marks cannot be used. It holds only the open offsets, so slots bound it.
type window struct {
	open []int64 // sorted
	next int64   // one above the last delivered offset
	used bool
}

// deliver notes that the record at offset is being worked on. Offsets rise, with gaps.
func (w *window) deliver(offset int64) {
	w.open = append(w.open, offset)
	w.next = offset + 1
	w.used = true
}

// mark notes that nothing of the record at offset depends on Kafka any more.
func (w *window) mark(offset int64) {
	if i, found := slices.BinarySearch(w.open, offset); found {
		w.open = slices.Delete(w.open, i, i+1)
	}
}

// low is the offset to commit; ok is false before the first delivery.
func (w *window) low() (offset int64, ok bool) {
	if len(w.open) > 0 {
		return w.open[0], true
	}
	return w.next, w.used
}
