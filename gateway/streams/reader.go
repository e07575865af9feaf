package streams

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

const (
	fetchBytes = 32 << 10        // of one answer of a tracker for a reader
	keepTime   = 2 * time.Second // how long an answer waits for a client that reads slowly
)

// Reader is what one connection follows. It puts a slot for each stream into the connection's outbox, which takes the
// frames from the stream's place as the client reads. One fetch of a connection runs at a time.
type Reader struct {
	// Set by NewReader, then only read.
	room   *Room
	out    *outbox.Outbox
	flush  func()                                         // starts a flush of the outbox
	encode func(jobID, name string, p Part) *outbox.Frame // makes the frame of a part
	over   func(jobID, name string)                       // is called when a stream is followed no longer; may be nil
	loads  sync.WaitGroup                                 // the goroutine that fetches

	mu      sync.Mutex         // guards the fields below; no other lock is taken under it
	follows []*follow          // in the order in which they were asked for
	due     []*follow          // wait for a fetch
	stop    context.CancelFunc // ends the goroutine that fetches; nil if there is none
	closed  bool
}

// follow is one stream of a connection. It is the source of its slot.
type follow struct {
	reader      *Reader
	place       *Place
	slot        outbox.Slot
	jobID, name string
}

// NewReader returns a reader that follows nothing. flush must not block. over is called once for each stream that ends
// by itself; it may be nil.
func NewReader(room *Room, out *outbox.Outbox, flush func(),
	encode func(jobID, name string, p Part) *outbox.Frame, over func(jobID, name string)) *Reader {
	return &Reader{room: room, out: out, flush: flush, encode: encode, over: over}
}

// Follow follows streams of a job, which may be in the scope. Those of the job that the connection follows already go
// on from the new cursors. full lists the streams for which there is no room: a connection may follow
// frame.MaxFollowedStreams, and of one job job.MaxStreams.
func (r *Reader) Follow(scope *auth.Scope, jobID string, refs []frame.StreamRef) (full []string) {
	for _, ref := range refs {
		f := &follow{reader: r, jobID: jobID, name: ref.Stream}
		f.slot.Source = f
		r.mu.Lock()
		had := r.takeLocked(jobID, ref.Stream)
		ok := !r.closed && len(r.follows) < frame.MaxFollowedStreams && r.ofJobLocked(jobID) < job.MaxStreams
		if ok {
			at := stream.Cursor{Dispatch: ref.Run, At: ref.At, Life: ref.Life}
			f.place = r.room.Open(scope, jobID, ref.Stream, at, f.ready)
			r.follows = append(r.follows, f)
		}
		r.mu.Unlock()
		r.end(had)
		if ok {
			f.ready()
		} else {
			full = append(full, ref.Stream)
		}
	}
	return full
}

// ofJobLocked returns how many streams of a job are followed. r.mu is held.
func (r *Reader) ofJobLocked(jobID string) (n int) {
	for _, f := range r.follows {
		if f.jobID == jobID {
			n++
		}
	}
	return n
}

// End ends all streams of a job.
func (r *Reader) End(jobID string) {
	for _, f := range r.take(func(f *follow) bool { return f.jobID == jobID }) {
		r.end(f)
	}
}

// take removes the streams that match, and returns them.
func (r *Reader) take(match func(*follow) bool) (all []*follow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows = slices.DeleteFunc(r.follows, func(f *follow) bool {
		is := match(f)
		if is {
			all = append(all, f)
		}
		return is
	})
	return all
}

// Narrow asks again for each stream, with another scope, unless the scope has all that the former one had: what is not
// in it ends with an error.
func (r *Reader) Narrow(scope *auth.Scope) {
	r.mu.Lock()
	var all []*follow
	for _, f := range r.follows {
		if !scope.Covers(f.place.scope) {
			all = append(all, f)
		}
	}
	r.mu.Unlock()
	for _, f := range all {
		at := f.place.At()
		r.Follow(scope, f.jobID, []frame.StreamRef{{Stream: f.name, Run: at.Dispatch, At: at.At, Life: at.Life}})
	}
}

// Fail ends all streams, and tells the client why.
func (r *Reader) Fail(why code.Code) {
	for _, f := range r.take(func(*follow) bool { return true }) {
		at := f.place.At()
		r.end(f)
		if r.out.Send(r.encode(f.jobID, f.name, Part{From: at, Error: why}).Bytes) == outbox.Start {
			r.flush()
		}
	}
}

// Close ends all streams, and waits for the fetch that runs.
func (r *Reader) Close() {
	r.mu.Lock()
	r.closed = true
	if r.stop != nil {
		r.stop()
	}
	r.mu.Unlock()
	for _, f := range r.take(func(*follow) bool { return true }) {
		r.end(f)
	}
	r.loads.Wait()
}

// takeLocked removes a stream, and returns it; nil if it is not followed. r.mu is held.
func (r *Reader) takeLocked(jobID, name string) *follow {
	for i, f := range r.follows {
		if f.jobID == jobID && f.name == name {
			r.follows = slices.Delete(r.follows, i, i+1)
			return f
		}
	}
	return nil
}

// end closes the place of a stream that was removed; nil is none.
func (r *Reader) end(f *follow) {
	if f != nil {
		r.out.Drop(&f.slot)
		f.place.Close()
	}
}

// ready queues the stream's slot.
func (f *follow) ready() {
	if f.reader.out.Ready(&f.slot) == outbox.Start {
		f.reader.flush()
	}
}

// Next implements outbox.Source.
func (f *follow) Next(limit int) (_ *outbox.Frame, more bool) {
	r := f.reader
	part, state := f.place.Take(limit)
	switch state {
	case Wait:
		return nil, false
	case Missing:
		r.load(f)
		return nil, false
	}
	if part.Over() {
		mine := len(r.take(func(x *follow) bool { return x == f })) > 0
		f.place.Close()
		if mine && r.over != nil {
			r.over(f.jobID, f.name)
		}
	}
	return r.encode(f.jobID, f.name, part), !part.Over()
}

// load has what the place misses fetched.
func (r *Reader) load(f *follow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	r.due = append(r.due, f)
	if r.stop == nil {
		var ctx context.Context
		ctx, r.stop = context.WithCancel(context.Background())
		r.loads.Go(func() { r.fetch(ctx) })
	}
}

// fetch fetches until nothing is due. An answer that the client does not read in keepTime is dropped and fetched again
// when it reads on: for a client that does not read, nothing is held.
func (r *Reader) fetch(ctx context.Context) {
	for {
		r.mu.Lock()
		if len(r.due) == 0 || r.closed {
			r.stop()
			r.stop, r.due = nil, nil
			r.mu.Unlock()
			return
		}
		f := r.due[0]
		r.due = r.due[1:]
		r.mu.Unlock()
		if err := f.place.Fetch(ctx, fetchBytes); err != nil {
			f.place.Failed()
		} else {
			time.AfterFunc(keepTime, f.place.Forget)
		}
		f.ready()
	}
}
