package streams

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of the room.
const (
	MaxBuffered = 256 << 20 // bytes of all windows, beyond minWindow of each
	maxReads    = 64        // questions to trackers at the same time
)

// Upstream reads and follows streams at the trackers; package upstream implements it.
type Upstream interface {
	ReadStream(ctx context.Context, req *trackerpb.ReadStreamRequest) (*trackerpb.ReadStreamResponse, error)
	// Follow follows a stream until it ends. Its parts go to Room.Part; when its tracker is lost, Room.Lost is called.
	Follow(f *trackerpb.StreamFollow)
	Unfollow(handle uint32)
}

// Room has the buffers of all streams that are followed on this gateway.
type Room struct {
	// Set by New and Attach, then only read.
	up      Upstream
	within  time.Duration // bound of a question to a tracker
	metrics *Metrics
	log     *slog.Logger
	reads   chan struct{} // one for each question
	used    atomic.Int64  // bytes of the windows, beyond minWindow of each

	mu       sync.Mutex // guards the fields below; buffers' and the upstream's locks are taken under it
	buffers  map[key]*buffer
	handles  map[uint32]*buffer // the buffers that are followed at a tracker
	lastUsed uint32             // handle
	places   int
}

// New returns an empty room. Attach must be called before it is used. A tracker answers within that time, or it counts
// as silent.
func New(within time.Duration, metrics *Metrics, log *slog.Logger) *Room {
	r := &Room{
		within: within, metrics: metrics, log: log, reads: make(chan struct{}, maxReads), buffers: map[key]*buffer{},
		handles: map[uint32]*buffer{},
	}
	metrics.observe(r)
	return r
}

// Attach sets the upstream.
func (r *Room) Attach(up Upstream) { r.up = up }

// Open returns a place in a stream, at a cursor. A Dispatch of 0 stands for the run that counts now, of which At must
// then be 0. notify is called when there is something to take after Take had to wait.
func (r *Room) Open(scope *auth.Scope, jobID, name string, at stream.Cursor, notify func()) *Place {
	p := &Place{room: r, scope: scope, key: key{scope.Key(), jobID, name}, at: at, notify: notify}
	r.mu.Lock()
	defer r.mu.Unlock()
	p.buf = r.enter(p.key)
	return p
}

// enter returns the buffer of a stream for one more reader. r.mu is held.
func (r *Room) enter(k key) *buffer {
	b := r.buffers[k]
	if b == nil || b.over() { // a job that has ended may have been retried since
		b = newBuffer(k, r.spare)
		r.buffers[k] = b
	}
	b.readers++
	r.places++
	return b
}

// leave takes a reader from a buffer.
func (r *Room) leave(b *buffer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leaveLocked(b)
}

func (r *Room) leaveLocked(b *buffer) {
	r.places--
	b.readers--
	if b.readers > 0 {
		return
	}
	if r.buffers[b.key] == b {
		delete(r.buffers, b.key)
	}
	if b.handle != 0 {
		delete(r.handles, b.handle)
		r.up.Unfollow(b.handle)
		b.handle = 0
	}
	b.mu.Lock()
	b.live, b.dead = false, true
	b.window.restart(0)
	b.mu.Unlock()
}

// spare takes n more bytes for a window, or gives them back.
func (r *Room) spare(n int) bool {
	if r.used.Add(int64(n)) > MaxBuffered && n > 0 {
		r.used.Add(-int64(n))
		return false
	}
	return true
}

// live makes the place's buffer follow the stream, from a cursor that was the stream's end, unless it does. If the
// buffer is over, though the stream is not, the place gets another buffer. p.mu is held.
func (r *Room) live(p *Place, at stream.Cursor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if b := p.buf; b.over() {
		p.buf = r.enter(p.key)
		r.leaveLocked(b)
	}
	b := p.buf
	if b.handle == 0 && !b.over() {
		b.begin(at)
		r.follow(b, p.scope)
	}
}

// follow follows a buffer's stream at its tracker, from the end of its window. r.mu is held.
func (r *Room) follow(b *buffer, scope *auth.Scope) {
	r.lastUsed++
	if r.lastUsed == 0 {
		r.lastUsed++
	}
	b.handle = r.lastUsed
	r.handles[b.handle] = b
	b.scope = scope
	r.up.Follow(&trackerpb.StreamFollow{
		Handle: b.handle, JobId: b.key.jobID, Tenant: scope.Tenant, Scope: scope.Proto(), Stream: b.key.name,
		After: ProtoOf(b.end()),
	})
}

// read asks a tracker for what follows a cursor, in its turn.
func (r *Room) read(
	ctx context.Context, scope *auth.Scope, k key, at stream.Cursor, limit int,
) (*trackerpb.StreamPart, error) {
	select {
	case r.reads <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-r.reads }()
	ctx, cancel := context.WithTimeout(ctx, r.within)
	defer cancel()
	got, err := r.up.ReadStream(ctx, &trackerpb.ReadStreamRequest{
		JobId: k.jobID, Tenant: scope.Tenant, Scope: scope.Proto(), Stream: k.name, After: ProtoOf(at),
		MaxBytes: int32(limit),
	})
	r.metrics.read(err)
	if err != nil {
		return nil, err
	}
	if got.Part == nil {
		return &trackerpb.StreamPart{From: ProtoOf(at)}, nil
	}
	return got.Part, nil
}

// Part is called by the upstream with the next part of a followed stream, or with the end of the follow.
func (r *Room) Part(f *trackerpb.FollowedPart) {
	r.mu.Lock()
	b := r.handles[f.Handle]
	part := f.Part
	over := f.Outcome == trackerpb.FollowedPart_NOT_FOUND || part.GetEnded() || part.GetGone()
	if b != nil && over {
		delete(r.handles, b.handle)
		b.handle = 0
	}
	r.mu.Unlock()
	if b == nil {
		return
	}
	var woken []*Place
	switch {
	case f.Outcome == trackerpb.FollowedPart_NOT_FOUND:
		woken = b.fail(code.NotFound)
	case part != nil:
		var err error
		if woken, err = b.add(part); err != nil {
			r.log.Error("a tracker's part of a stream cannot be read", "job", b.key.jobID, "stream", b.key.name, "err", err)
			woken = b.fail(code.Internal)
		}
	}
	for _, p := range woken {
		p.notify()
	}
}

// Lost is called by the upstream with follows that have no tracker any more.
func (r *Room) Lost(handles []uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, h := range handles {
		if b := r.handles[h]; b != nil {
			delete(r.handles, h)
			r.follow(b, b.scope)
		}
	}
}

// sizes returns the number of streams that are followed at trackers, and of places.
func (r *Room) sizes() (follows, places int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.handles), r.places
}
