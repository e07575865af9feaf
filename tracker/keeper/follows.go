package keeper

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Bounds of one connection that follows streams.
const (
	MaxFollows  = 50_000    // streams; with more the connection is closed
	partBytes   = 64 << 10  // of the pieces of one part
	answerBytes = 512 << 10 // of the parts of one message; the last one may exceed it
	answerParts = 256       // in one message
	retryAfter  = 500 * time.Millisecond
)

// ErrClosed is returned by Next after Close.
var ErrClosed = errors.New("the connection that follows streams is closed")

// Follows are the streams that one connection follows. Each is a cursor and no queue: what there is behind it is read
// when it can be sent. Those that may have more are served in turn.
type Follows struct {
	shared *Shared
	wake   wake.Signal

	mu     sync.Mutex // guards all below and the follows' fields; taken under Keeper.mu, and none is taken under it
	all    map[uint32]*follow
	queue  []*follow // may have more
	closed bool
}

// follow is one stream that is followed.
type follow struct {
	of     *Follows
	handle uint32

	// Guarded by of.mu.
	queued bool
	over   bool
	stop   func() // ends the watch; nil while there is none

	// Owned by who calls Next, once it is queued for the first time.
	keeper  *Keeper // nil: outcome says why
	outcome trackerpb.FollowedPart_Outcome
	reading *reading
	began   bool // a part was sent
}

// NewFollows returns the follows of a connection.
func (s *Shared) NewFollows() *Follows {
	return &Follows{shared: s, wake: wake.New(), all: map[uint32]*follow{}}
}

// Place reserves a handle. It returns false when the handle is in use, or none is left: the connection must be closed.
func (c *Follows) Place(handle uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.all[handle] != nil || len(c.all) >= MaxFollows {
		return false
	}
	c.all[handle] = &follow{of: c, handle: handle}
	c.shared.follows.Inc()
	return true
}

// Begin follows a stream under a handle that was placed, unless that was removed meanwhile.
func (c *Follows) Begin(handle uint32, k *Keeper, q Query) {
	q.Max = partBytes
	c.start(handle, func(f *follow) { f.keeper, f.reading = k, q.reading() })
}

// Refuse ends a follow with an outcome.
func (c *Follows) Refuse(handle uint32, why trackerpb.FollowedPart_Outcome) {
	c.start(handle, func(f *follow) { f.outcome = why })
}

func (c *Follows) start(handle uint32, set func(*follow)) {
	c.mu.Lock()
	if f := c.all[handle]; f != nil {
		set(f)
		c.push(f)
	}
	c.mu.Unlock()
	c.wake.Send()
}

// Remove ends a follow.
func (c *Follows) Remove(handle uint32) {
	c.mu.Lock()
	f := c.all[handle]
	c.mu.Unlock()
	if f != nil {
		c.end(f)
	}
}

// end forgets a follow.
func (c *Follows) end(f *follow) {
	c.mu.Lock()
	stop := f.stop
	if !f.over {
		f.over = true
		delete(c.all, f.handle)
		c.shared.follows.Dec()
	}
	f.stop = nil
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// push queues a follow. c.mu is held.
func (c *Follows) push(f *follow) {
	if !f.queued && !f.over {
		f.queued = true
		c.queue = append(c.queue, f)
	}
}

// Wake implements Waker: there may be more of the stream.
func (f *follow) Wake() {
	f.of.mu.Lock()
	f.of.push(f)
	f.of.mu.Unlock()
	f.of.wake.Send()
}

// pop returns the next follow that may have more, or nil.
func (c *Follows) pop() *follow {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue) > 0 {
		f := c.queue[0]
		c.queue[0] = nil
		c.queue = c.queue[1:]
		f.queued = false
		if !f.over {
			return f
		}
	}
	return nil
}

// Next waits until there is something to send and returns it. The error is ErrClosed or ctx's. Only one goroutine may
// call it.
func (c *Follows) Next(ctx context.Context) (*trackerpb.FollowStreamsResponse, error) {
	for {
		r := &trackerpb.FollowStreamsResponse{}
		for size := 0; size < answerBytes && len(r.Parts) < answerParts && ctx.Err() == nil; {
			f := c.pop()
			if f == nil {
				break
			}
			if part := c.serve(ctx, f); part != nil {
				r.Parts = append(r.Parts, part)
				for _, p := range part.Part.GetPieces() {
					size += len(p)
				}
			}
		}
		if len(r.Parts) > 0 {
			c.wake.Send() // there may be more
			return r, nil
		}
		c.mu.Lock()
		closed, left := c.closed, len(c.queue)
		c.mu.Unlock()
		switch {
		case closed:
			return nil, ErrClosed
		case left > 0 && ctx.Err() == nil:
			continue
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// serve returns the next part of a stream, or nil if there is none now.
func (c *Follows) serve(ctx context.Context, f *follow) *trackerpb.FollowedPart {
	if f.keeper == nil {
		c.end(f)
		return &trackerpb.FollowedPart{Handle: f.handle, Outcome: f.outcome}
	}
	part, told, err := f.keeper.read(ctx, f.reading)
	if err != nil {
		outcome, final := outcomeOf(err)
		if !final {
			f.keeper.log.Debug("a stream that is followed is not read, and will be tried again", "err", err)
			time.AfterFunc(retryAfter, f.Wake)
			return nil
		}
		c.end(f)
		return &trackerpb.FollowedPart{Handle: f.handle, Outcome: outcome}
	}
	switch {
	case part.Ended, part.Gone:
		c.end(f)
	case told && !part.UpToDate:
		f.Wake()
	default:
		c.watch(f)
	}
	if !told && f.began {
		return nil
	}
	f.began = true
	return &trackerpb.FollowedPart{Handle: f.handle, Part: part, Outcome: trackerpb.FollowedPart_FOLLOWING}
}

// watch has the follow be woken from now on, and once more for what has come before.
func (c *Follows) watch(f *follow) {
	c.mu.Lock()
	has := f.stop != nil || f.over
	c.mu.Unlock()
	if has {
		return
	}
	stop, err := f.keeper.watch(f.reading.id, f)
	if err != nil {
		time.AfterFunc(retryAfter, f.Wake)
		return
	}
	c.mu.Lock()
	over := f.over
	if !over {
		f.stop = stop
		c.push(f)
	}
	c.mu.Unlock()
	if over {
		stop()
	}
}

// outcomeOf returns how a follow ends with an error; final is false for one that is worth another try.
func outcomeOf(err error) (o trackerpb.FollowedPart_Outcome, final bool) {
	switch {
	case errors.Is(err, ErrNotFound):
		return trackerpb.FollowedPart_NOT_FOUND, true
	case errors.Is(err, ErrNotOwner):
		return trackerpb.FollowedPart_NOT_OWNER, true
	case errors.Is(err, ErrNotReady):
		return trackerpb.FollowedPart_NOT_READY, true
	}
	return trackerpb.FollowedPart_OUTCOME_UNSPECIFIED, false
}

// Close ends all follows.
func (c *Follows) Close() {
	c.mu.Lock()
	c.closed = true
	all := make([]*follow, 0, len(c.all))
	for _, f := range c.all {
		all = append(all, f)
	}
	c.mu.Unlock()
	for _, f := range all {
		c.end(f)
	}
	c.wake.Send()
}
