package upstream

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// StreamWatcher receives what is followed of streams of jobs. Its methods are called from several goroutines, but for
// one handle from one at a time, and must not block.
type StreamWatcher interface {
	// Part is called with the next part of a stream, or with the end of a follow.
	Part(*trackerpb.FollowedPart)
	// Lost is called with follows that have no tracker any more. The watcher must Follow them again, with new handles.
	Lost(handles []uint32)
}

// follows are the connections on which streams of jobs are followed, one for each tracker. Guarded by the upstream's
// lock.
type follows struct {
	watcher StreamWatcher        // set by newFollows, then only read
	conns   map[string]*follower // by the tracker's address
	lost    map[uint32]struct{}  // handles without a tracker, which wait for another try
}

func newFollows(w StreamWatcher) follows {
	return follows{watcher: w, conns: map[string]*follower{}, lost: map[uint32]struct{}{}}
}

// takeLost returns the handles that have no tracker, and forgets them.
func (f *follows) takeLost() []uint32 {
	if len(f.lost) == 0 {
		return nil
	}
	all := slices.Collect(maps.Keys(f.lost))
	clear(f.lost)
	return all
}

// Follow follows a stream at the tracker that owns its job's partition. Its parts go to the watcher's Part; if there is
// no owner, or the connection ends, the watcher's Lost is called later.
func (u *Upstream) Follow(add *trackerpb.StreamFollow) {
	addr, ok := u.owners.of(add.JobId)
	u.mu.Lock()
	defer u.mu.Unlock()
	if !ok || u.closed || u.ctx == nil || !u.followerLocked(addr).add(add) {
		u.loseFollowsLocked(add.Handle)
	}
}

// Unfollow ends a follow.
func (u *Upstream) Unfollow(handle uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.follows.lost, handle)
	for _, f := range u.follows.conns {
		f.remove(handle)
	}
}

// loseFollows gives follows up for now: after a pause the watcher's Lost is called for them.
func (u *Upstream) loseFollows(handles ...uint32) {
	if len(handles) > 0 {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.loseFollowsLocked(handles...)
	}
}

func (u *Upstream) loseFollowsLocked(handles ...uint32) {
	for _, h := range handles {
		u.follows.lost[h] = struct{}{}
	}
	u.wake.Send()
}

// followerLocked returns the connection to a tracker, a new one if there is none. Run must be running.
func (u *Upstream) followerLocked(addr string) *follower {
	f := u.follows.conns[addr]
	if f == nil {
		f = &follower{up: u, addr: addr, wake: wake.New(), handles: map[uint32]struct{}{}}
		u.follows.conns[addr] = f
		ctx := u.ctx
		u.wg.Go(func() { f.run(ctx) })
	}
	return f
}

// follower is the connection to one tracker on which streams of jobs are followed. It ends when it has had nothing to
// follow for followIdle.
type follower struct {
	up   *Upstream
	addr string
	wake wake.Signal // there is something to send

	mu      sync.Mutex // guards the fields below; no other lock is taken under it
	handles map[uint32]struct{}
	adds    []*trackerpb.StreamFollow // not sent yet
	removes []uint32                  // not sent yet
	ended   bool
}

// followIdle is how long a connection without follows is kept.
const followIdle = time.Minute

// add queues an add. It reports false if the connection has ended.
func (f *follower) add(a *trackerpb.StreamFollow) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.handles[a.Handle] = struct{}{}
	f.adds = append(f.adds, a)
	f.wake.Send()
	return true
}

func (f *follower) remove(handle uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.handles[handle]; !ok {
		return
	}
	delete(f.handles, handle)
	for i, a := range f.adds {
		if a.Handle == handle { // it was not sent yet
			f.adds = slices.Delete(f.adds, i, i+1)
			return
		}
	}
	f.removes = append(f.removes, handle)
	f.wake.Send()
}

// forget notes that the tracker has ended a follow by itself.
func (f *follower) forget(handle uint32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.handles, handle)
}

// next returns the next message to send; nil when there is none.
func (f *follower) next() *trackerpb.FollowStreamsRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.adds)+len(f.removes) == 0 {
		return nil
	}
	n := min(len(f.adds), maxJobsPerMessage)
	m := &trackerpb.FollowStreamsRequest{Add: f.adds[:n:n], Remove: f.removes}
	f.adds, f.removes = f.adds[n:], nil
	return m
}

// idle reports whether the connection has nothing to follow. It then ends.
func (f *follower) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = f.ended || len(f.handles)+len(f.adds)+len(f.removes) == 0
	return f.ended
}

// end ends the connection and returns what it has followed.
func (f *follower) end() []uint32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	all := slices.Collect(maps.Keys(f.handles))
	f.handles, f.adds, f.removes = nil, nil, nil
	return all
}

// run sends and receives until the connection breaks, is idle, or ctx ends. This goroutine receives; a second one
// sends and ends with it.
func (f *follower) run(all context.Context) {
	ctx, cancel := context.WithCancel(all)
	bidi := f.up.client(f.addr).FollowStreams(ctx)
	var sending sync.WaitGroup
	sending.Go(func() {
		defer cancel()
		f.send(ctx, bidi)
	})
	var err error
	for {
		var m *trackerpb.FollowStreamsResponse
		if m, err = bidi.Receive(); err != nil {
			break
		}
		for _, part := range m.Parts {
			f.received(part)
		}
	}
	broken := ctx.Err() == nil
	refused := broken && (isRefused(err) || connect.CodeOf(err) == connect.CodeUnimplemented)
	if broken && !isRefused(err) { // links has logged a refusal
		f.up.log.Info("connection for streams of jobs ended", "tracker", f.addr, "err", err)
	}
	cancel()
	sending.Wait()
	_ = bidi.CloseResponse()
	if refused { // it would be again
		pause.For(all, refreshInterval)
	}
	f.up.mu.Lock()
	if f.up.follows.conns[f.addr] == f {
		delete(f.up.follows.conns, f.addr)
	}
	f.up.mu.Unlock()
	f.up.loseFollows(f.end()...)
}

// received passes a part on, or finds that its follow needs another tracker.
func (f *follower) received(part *trackerpb.FollowedPart) {
	switch part.Outcome {
	case trackerpb.FollowedPart_NOT_OWNER, trackerpb.FollowedPart_NOT_READY:
		f.mu.Lock()
		_, had := f.handles[part.Handle]
		delete(f.handles, part.Handle)
		f.mu.Unlock()
		if had {
			f.up.loseFollows(part.Handle)
		}
		return
	case trackerpb.FollowedPart_NOT_FOUND:
		f.forget(part.Handle)
	default:
		if part.Part.GetEnded() || part.Part.GetGone() {
			f.forget(part.Handle)
		}
	}
	f.up.follows.watcher.Part(part)
}

func (f *follower) send(ctx context.Context,
	bidi *connect.BidiStreamForClient[trackerpb.FollowStreamsRequest, trackerpb.FollowStreamsResponse]) {
	defer func() { _ = bidi.CloseRequest() }()
	idle := time.NewTicker(followIdle)
	defer idle.Stop()
	for {
		select {
		case <-f.wake:
		case <-idle.C:
			if f.idle() {
				return
			}
		case <-ctx.Done():
			return
		}
		for m := f.next(); m != nil; m = f.next() {
			if bidi.Send(m) != nil {
				return
			}
		}
	}
}

// ListStreams is Upstream.ListStreams at the system that has the job.
func (p *Pair) ListStreams(ctx context.Context, req *trackerpb.StreamsRequest) (*trackerpb.StreamsResponse, error) {
	at, err := p.locate(ctx, req.JobId, req.Tenant, req.Scope)
	if err != nil {
		return nil, err
	}
	return at.ListStreams(ctx, req)
}

// ReadStream is Upstream.ReadStream at the system that has the job.
func (p *Pair) ReadStream(
	ctx context.Context, req *trackerpb.ReadStreamRequest,
) (*trackerpb.ReadStreamResponse, error) {
	at, err := p.locate(ctx, req.JobId, req.Tenant, req.Scope)
	if err != nil {
		return nil, err
	}
	return at.ReadStream(ctx, req)
}

// Follow is Upstream.Follow at the system that has the job. If that cannot be found out now, the watcher's Lost is
// called later.
func (p *Pair) Follow(add *trackerpb.StreamFollow) {
	if p.former == nil {
		p.now.Follow(add)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx == nil || p.ended {
		p.now.loseFollows(add.Handle)
		return
	}
	p.follows[add.Handle] = struct{}{}
	ctx := p.ctx
	p.finds.Go(func() { // one for each follow, of which clients may have only so many
		at, err := p.locateForWatch(ctx, &trackerpb.WatchAdd{JobId: add.JobId, Tenant: add.Tenant, Scope: add.Scope})
		p.mu.Lock()
		defer p.mu.Unlock()
		_, wanted := p.follows[add.Handle]
		delete(p.follows, add.Handle)
		switch {
		case !wanted:
		case err != nil:
			p.now.loseFollows(add.Handle)
		default:
			at.Follow(add)
		}
	})
}

// Unfollow ends a follow.
func (p *Pair) Unfollow(handle uint32) {
	if p.former != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.follows, handle)
		p.former.Unfollow(handle)
	}
	p.now.Unfollow(handle)
}
