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

// maxJobsPerMessage bounds one message to a tracker.
const maxJobsPerMessage = 1000

// stream is the watch stream to one tracker.
type stream struct {
	up   *Upstream
	addr string
	id   uint64
	wake wake.Signal // there is something to send

	mu      sync.Mutex          // guards the fields below; no other lock is taken under it
	jobs    map[string]struct{} // IDs of the jobs that it watches
	changes map[string]*change  // not sent yet, by job ID
	order   []string            // the keys of changes, in the order in which they are sent
	ended   bool
	queues  bool               // the tracker is to be asked for its queues
	hello   *trackerpb.Process // what the tracker is to be told of this gateway; nil once it was

	subjects handled[*trackerpb.SubjectAdd]
	lists    handled[*trackerpb.ListAdd]
}

// change is a change of a job's watch that was not sent yet: first its removal, then its adds, one per
// scope.
type change struct {
	remove bool
	adds   []*trackerpb.WatchAdd
}

func newStream(u *Upstream, addr string, id uint64) *stream {
	s := &stream{
		up: u, addr: addr, id: id, wake: wake.New(), jobs: map[string]struct{}{}, changes: map[string]*change{},
		queues: u.queues != nil, hello: u.process,
	}
	if s.queues || s.hello != nil {
		s.wake.Send()
	}
	return s
}

// add queues an add. It reports false if the stream has ended.
func (s *stream) add(a *trackerpb.WatchAdd) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.jobs[a.JobId] = struct{}{}
	c := s.change(a.JobId)
	c.adds = slices.DeleteFunc(c.adds, func(b *trackerpb.WatchAdd) bool { return b.Who == a.Who })
	c.adds = append(c.adds, a)
	return true
}

func (s *stream) remove(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.jobs[jobID]; ok {
		delete(s.jobs, jobID)
		*s.change(jobID) = change{remove: true}
	}
}

// change returns the job's change that is to be sent, a new one if there is none. s.mu is held.
func (s *stream) change(jobID string) *change {
	c := s.changes[jobID]
	if c == nil {
		c = &change{}
		s.changes[jobID] = c
		s.order = append(s.order, jobID)
	}
	s.wake.Send()
	return c
}

func (s *stream) forget(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, jobID)
}

// takeJobs ends the stream and returns the jobs that it watched.
func (s *stream) takeJobs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	ids := slices.Collect(maps.Keys(s.jobs))
	s.jobs = nil
	s.changes = nil
	s.order = nil
	s.subjects = handled[*trackerpb.SubjectAdd]{}
	s.lists = handled[*trackerpb.ListAdd]{}
	return ids
}

// next returns the next message to send; nil when there is none. The tracker processes a message's
// removals before its adds.
func (s *stream) next() *trackerpb.WatchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := min(len(s.order), maxJobsPerMessage)
	if n == 0 && s.subjects.empty() && s.lists.empty() && !s.queues && s.hello == nil {
		return nil
	}
	m := &trackerpb.WatchRequest{Queues: s.queues, Gateway: s.hello}
	s.queues, s.hello = false, nil
	m.AddSubjects, m.RemoveSubjects = s.subjects.next()
	m.AddLists, m.RemoveLists = s.lists.next()
	for _, id := range s.order[:n] {
		c := s.changes[id]
		delete(s.changes, id)
		if c.remove {
			m.Remove = append(m.Remove, id)
		}
		m.Add = append(m.Add, c.adds...)
	}
	s.order = s.order[n:]
	return m
}

// run sends and receives until the stream breaks or ctx ends. This goroutine receives; a
// second one sends and ends with it.
func (s *stream) run(all context.Context) {
	ctx, cancel := context.WithCancel(all)
	bidi := s.up.client(s.addr).Watch(ctx)
	var sending sync.WaitGroup
	sending.Go(func() {
		defer cancel()
		s.send(ctx, bidi)
	})
	var err error
	for {
		var m *trackerpb.WatchResponse
		if m, err = bidi.Receive(); err != nil {
			break
		}
		for _, c := range m.Coverage {
			s.up.watcher.Covered(s.id, c)
			if c.Lost {
				s.up.wake.Send() // the partition has moved: look for its new owner
			}
		}
		if m.Queues != nil && s.up.queues != nil {
			s.up.queues.Note(s.id, m.Queues, time.Now())
		}
		for _, l := range m.Lists {
			s.up.watcher.Listed(l)
		}
		for _, w := range m.Watched {
			s.up.watcher.Watched(w)
		}
		for _, j := range m.Updates {
			s.up.watcher.Update(j)
		}
	}
	if ctx.Err() == nil && !isRefused(err) { // links has logged a refusal
		s.up.log.Info("watch stream ended", "tracker", s.addr, "err", err)
	}
	refused := ctx.Err() == nil && isRefused(err)
	cancel()
	sending.Wait()
	_ = bidi.CloseResponse()
	if refused { // it would be again
		pause.For(all, refreshInterval)
	}
	s.up.drop(s)
}

func (s *stream) send(
	ctx context.Context, bidi *connect.BidiStreamForClient[trackerpb.WatchRequest, trackerpb.WatchResponse],
) {
	defer func() { _ = bidi.CloseRequest() }()
	// Send the headers now, so that the stream is open before there is a message to send.
	if bidi.Send(nil) != nil {
		return
	}
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return
		}
		for m := s.next(); m != nil; m = s.next() {
			if bidi.Send(m) != nil {
				return
			}
		}
	}
}
