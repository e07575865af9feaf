package shard

import "context"

// aside runs work on a goroutine of its own, whose context ends with the shard, and done with its result on the
// shard's. After the shard's end done may not be called any more.
type aside func(work func(context.Context) error, done func(error))

// turnstile bounds turns: entries that join it have their turn in the order in which they came, and no more than a
// number of them at a time. A turn is work that waits for Kafka. Owned by the shard's goroutine.
type turnstile struct {
	most  int // turns at a time
	aside aside
	// begin returns the work of an entry's turn, and what is to be done with its result; no work if the entry does not
	// need its turn any more.
	begin func(*entry) (work func(context.Context) error, over func(error))

	line    []*entry // wait for their turn
	running int
	closed  bool
}

// join puts an entry at the end of the line.
func (t *turnstile) join(e *entry) {
	t.line = append(t.line, e)
	t.next()
}

// next begins as many turns as may run.
func (t *turnstile) next() {
	for t.running < t.most && len(t.line) > 0 && !t.closed {
		e := t.line[0]
		t.line[0] = nil
		t.line = t.line[1:]
		work, over := t.begin(e)
		if work == nil {
			continue
		}
		t.running++
		t.aside(work, func(err error) {
			t.running--
			over(err)
			t.next()
		})
	}
}

// close lets no further turn begin.
func (t *turnstile) close() { t.closed = true }
