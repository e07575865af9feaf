package upstream

import (
	"context"
	"sync"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// maxAddsPerMessage bounds one request of a stream.
const maxAddsPerMessage = 1000

// stream is the one watch stream to one tracker.
type stream struct {
	up   *Upstream
	addr string
	wake chan struct{} // capacity 1: something is to be sent

	mu      sync.Mutex // guards all below; no other lock is taken under it
	jobs    map[string]struct{}
	adds    []*trackerpb.WatchAdd
	removes []string
	ended   bool
}

func newStream(u *Upstream, addr string) *stream {
	return &stream{up: u, addr: addr, wake: make(chan struct{}, 1), jobs: map[string]struct{}{}}
}

func (s *stream) add(a *trackerpb.WatchAdd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		go s.up.lose(a.JobId) // its jobs were taken a moment ago; the caller holds up.mu
		return
	}
	s.jobs[a.JobId] = struct{}{}
	s.adds = append(s.adds, a)
	s.signal()
}

func (s *stream) remove(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.jobs[jobID]; ok {
		delete(s.jobs, jobID)
		s.removes = append(s.removes, jobID)
		s.signal()
	}
}

func (s *stream) forget(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.jobs, jobID)
}

func (s *stream) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// takeJobs ends the stream and returns the jobs that it watched.
func (s *stream) takeJobs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	ids := make([]string, 0, len(s.jobs))
	for id := range s.jobs {
		ids = append(ids, id)
	}
	s.jobs, s.adds, s.removes = nil, nil, nil
	return ids
}

// next is the next message to send. Removes go first: a job that was removed and added
// again is watched.
func (s *stream) next() *trackerpb.WatchRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.adds) == 0 && len(s.removes) == 0 {
		return nil
	}
	m := &trackerpb.WatchRequest{}
	if len(s.removes) > 0 {
		m.Remove, s.removes = s.removes, nil
		if len(s.adds) > 0 {
			s.signal()
		}
		return m
	}
	n := min(len(s.adds), maxAddsPerMessage)
	m.Add, s.adds = s.adds[:n:n], s.adds[n:]
	if len(s.adds) > 0 {
		s.signal()
	}
	return m
}

// run sends and receives until the stream breaks or ctx ends. This goroutine receives; a
// second one sends and ends with it.
func (s *stream) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
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
		for _, w := range m.Watched {
			s.up.watcher.Watched(w)
		}
		for _, j := range m.Updates {
			s.up.watcher.Update(j)
		}
	}
	if ctx.Err() == nil {
		s.up.log.Info("watch stream ended", "tracker", s.addr, "err", err)
	}
	cancel()
	sending.Wait()
	_ = bidi.CloseResponse()
	s.up.drop(s)
}

func (s *stream) send(ctx context.Context, bidi *connect.BidiStreamForClient[trackerpb.WatchRequest, trackerpb.WatchResponse]) {
	defer func() { _ = bidi.CloseRequest() }()
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
