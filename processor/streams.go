package processor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// flushAfter is how long a piece that is not full waits for more.
const flushAfter = 25 * time.Millisecond

// maxUnsent bounds the bytes of a run that are written to its streams and not stored. Its log has a bound of its own,
// maxLogUnsent, so that one run holds at most 192 KiB, in buffers of at most twice that.
const maxUnsent = 128 << 10

// streams are the streams of one run. They have no goroutine: a write, a piece's timer or the answer to a piece sends
// what is due. Every piece is sent under mu, after the one before it was stored.
type streams struct {
	// Set before the handler begins, then only read.
	ctx    context.Context // the handler's
	id     identity
	limit  int64 // bytes of all streams but the log
	pace   *pace
	store  func(c stream.Chunk, done func(error)) // done is called later, on another goroutine
	meter  *streamMetrics
	closed chan struct{} // closed when no more may be written

	mu      sync.Mutex // guards the rest; no other lock is taken under it
	byName  map[string]*Stream
	log     *runLog       // of the stream log
	used    int64         // bytes that were written, or for which a write waits
	unsent  int           // bytes that are not stored; without the log
	changed chan struct{} // closed, and replaced, when something was stored or has failed
	end     closure
}

// identity says which run of which job writes.
type identity struct {
	jobID    string
	dispatch int
	run      string
}

// closure says why streams take nothing any more, or send nothing.
type closure struct {
	closing bool  // the handler has returned: what was written is still sent
	sealed  bool  // the totals stand in the run's last event: nothing is sent any more
	lost    error // the run was stopped or lost its lease: nothing is sent any more
	failed  error // a piece was not stored
}

func newStreams(id identity, limits streamLimits, m *streamMetrics, store func(stream.Chunk, func(error))) *streams {
	w := &streams{
		ctx: context.Background(), id: id, limit: limits.total, pace: newPace(limits.rate), store: store, meter: m,
		closed: make(chan struct{}), byName: map[string]*Stream{}, changed: make(chan struct{}),
	}
	w.log = newRunLog(w)
	return w
}

// named returns the stream of that name, as Job.Stream does.
func (w *streams) named(name string) *Stream {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.byName[name]; s != nil {
		return s
	}
	switch {
	case !job.ValidStream(name):
		return &Stream{invalid: invalidStream(fmt.Errorf("%.64q is not the name of a stream", name))}
	case name == job.StreamLog:
		return &Stream{invalid: invalidStream(errors.New("the stream log is written by the job's logger only"))}
	case len(w.byName) == maxHandlerStreams:
		return &Stream{invalid: invalidStream(fmt.Errorf("a run may name %d streams beside its log", maxHandlerStreams))}
	}
	s := &Stream{of: w, pipe: &pipe{name: name}, writing: make(chan struct{}, 1)}
	w.byName[name] = s
	return s
}

// refusal returns why nothing may be written; nil if it may. It is called with mu held.
func (w *streams) refusal() error {
	switch {
	case w.end.lost != nil:
		return w.end.lost
	case w.end.failed != nil:
		return w.end.failed
	case w.end.closing, w.end.sealed:
		return ErrStreamsClosed
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	}
	return nil
}

// reserve counts n bytes that are about to be written, and fixes the stream's kind. After an error nothing has changed.
func (w *streams) reserve(p *pipe, kind job.StreamKind, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.refusal(); err != nil {
		return err
	}
	if p.kind != "" && p.kind != kind {
		return invalidStream(fmt.Errorf("the stream %s is of the kind %s", p.name, p.kind))
	}
	if err := w.count(n); err != nil {
		return err
	}
	p.kind = kind
	return nil
}

// count adds to the bytes of all streams, unless they would be above the limit. It is called with mu held.
func (w *streams) count(n int) error {
	if int64(n) > w.limit-w.used {
		return streamTooLarge(fmt.Errorf("the streams of a run have at most %d bytes, and this write has %d after %d",
			w.limit, n, w.used))
	}
	w.used += int64(n)
	return nil
}

// unreserve takes back what was reserved and not written.
func (w *streams) unreserve(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.used -= int64(n)
}

// admit waits until n more bytes may be written. Unless it returns an error, it returns with mu held.
func (w *streams) admit(n int) error {
	if err := w.pace.wait(w.ctx, w.closed, n); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if why := w.refusal(); why != nil {
			return why
		}
		return err
	}
	for {
		w.mu.Lock()
		if err := w.refusal(); err != nil {
			w.mu.Unlock()
			return err
		}
		if w.unsent+n <= maxUnsent {
			w.unsent += n
			return nil
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-w.closed:
		case <-w.ctx.Done():
		}
	}
}

func (w *streams) addText(p *pipe, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if err := w.admit(len(text)); err != nil {
		return err
	}
	defer w.mu.Unlock()
	w.added(p, p.addText(text))
	return nil
}

func (w *streams) addItem(p *pipe, item []byte) error {
	if err := w.admit(len(item) + len(",")); err != nil {
		return err
	}
	defer w.mu.Unlock()
	first := p.addItem(item)
	if first {
		w.unsent-- // it has no comma
	}
	w.added(p, first)
	return nil
}

// addLast writes the end of a text when the streams are being closed.
func (w *streams) addLast(p *pipe, text []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(text) == 0 || w.end.sealed || w.end.lost != nil || p.failed {
		return nil
	}
	if err := w.count(len(text)); err != nil {
		return err
	}
	w.unsent += len(text)
	w.added(p, p.addText(text))
	return nil
}

// added sends what is full. If a piece was begun, it is sent after flushAfter at the latest. It is called with mu held.
func (w *streams) added(p *pipe, began bool) {
	w.advance(p)
	if !began || p.open.length == 0 {
		return
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(flushAfter, func() { w.overdue(p) })
		return
	}
	p.timer.Reset(flushAfter)
}

// overdue sends a piece that has waited for more.
func (w *streams) overdue(p *pipe) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.due = p.open.length > 0
	w.advance(p)
}

// advance sends the stream's next piece, if there is one and the one before it is stored. It is called with mu held.
func (w *streams) advance(p *pipe) {
	if w.end.sealed || w.end.lost != nil {
		return
	}
	next, ok := p.next()
	if !ok {
		return
	}
	p.sending = true
	chunk := stream.Chunk{JobID: w.id.jobID, Stream: p.name, Kind: p.kind, Dispatch: w.id.dispatch, Run: w.id.run,
		From: p.sent, Value: next.value, Length: next.length}
	if p.kind == job.StreamJSON {
		chunk.Value = append(append(append(make([]byte, 0, len(next.value)+2), '['), next.value...), ']')
	}
	p.sent += next.length
	w.store(chunk, func(err error) { w.answered(p, len(next.value), chunk, err) })
}

// answered handles the answer to a piece. err is nil if it is stored.
func (w *streams) answered(p *pipe, size int, c stream.Chunk, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.notify()
	p.sending = false
	w.free(p, size)
	if err != nil {
		p.failed = true
		w.free(p, p.drop())
		if p.name != job.StreamLog && w.end.failed == nil {
			w.end.failed = notStored(fmt.Errorf("a piece of the stream %s was not stored: %w", p.name, err))
		}
		return
	}
	if !w.end.sealed {
		p.stored = c.End()
	}
	w.meter.note(p, size)
	w.advance(p)
}

// free gives back the place of bytes that are stored, or dropped. It is called with mu held.
func (w *streams) free(p *pipe, size int) {
	if p.name == job.StreamLog {
		w.log.unsent -= size
		return
	}
	w.unsent -= size
}

// notify wakes all that wait for a change. It is called with mu held.
func (w *streams) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// flush sends what was written to a stream, and waits until it is stored.
func (w *streams) flush(p *pipe) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := p.sent + p.open.length
	for _, f := range p.full {
		until += f.length
	}
	p.due = p.open.length > 0
	w.advance(p)
	for p.stored < until {
		if err := w.refusal(); err != nil {
			return err
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-w.closed:
		case <-w.ctx.Done():
		}
		w.mu.Lock()
	}
	return nil
}
