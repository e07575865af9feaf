package mine

import (
	"context"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Run closes gaps until ctx ends.
func (x *Index) Run(ctx context.Context) error {
	var working, resuming sync.WaitGroup
	defer working.Wait()
	defer resuming.Wait() // one per subscription at most
	room := make(chan struct{}, gapWorkers)
	again := time.NewTicker(gapRetry)
	defer again.Stop()
	for {
		select {
		case <-x.wake:
		case <-again.C: // for those that could not be closed
		case <-ctx.Done():
			return nil
		}
		for s, since := x.takeGap(); s != nil; s, since = x.takeGap() {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			working.Go(func() {
				x.close(ctx, s, since)
				<-room
			})
		}
		for s, sub := x.takeResume(); s != nil; s, sub = x.takeResume() {
			resuming.Go(func() { x.resume(ctx, s, sub) })
		}
	}
}

// takeGap is a subject whose gap can be closed now; nil when there is none.
func (x *Index) takeGap() (*subject, int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, s := range x.subjects {
		if s.gap != 0 && !s.closing && s.whole() {
			since := s.gap
			s.gap, s.closing = 0, true
			return s, since
		}
	}
	return nil, 0
}

// close asks for what has changed since, and tells what was not told. A gap that could not be
// closed is one again.
func (x *Index) close(ctx context.Context, s *subject, since int64) {
	req := &trackerpb.ListRequest{
		Tenant: s.who.tenant, Subjects: []string{s.who.subject}, UpdatedFrom: max(since, 1), Limit: gapPage,
	}
	for {
		page, cancel := context.WithTimeout(ctx, gapTimeout)
		listed, err := x.up.List(page, req)
		cancel()
		if err != nil {
			pause.For(ctx, gapRetry) // the trackers are asked again no sooner
		}
		x.mu.Lock()
		if err != nil {
			s.missing(since)
		} else {
			for _, j := range listed.Jobs {
				s.tell(j.Job, nil)
			}
		}
		if over := err != nil || listed.Through == nil || x.handles[s.handle] != s; over {
			s.closing = false
			x.mu.Unlock()
			return
		}
		x.mu.Unlock()
		req.After = listed.Through
	}
}
