package subjects

import (
	"context"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Run closes gaps and resumes subscriptions from their cursors, until ctx ends.
func (x *Index) Run(ctx context.Context) error {
	var working, resuming sync.WaitGroup
	defer working.Wait()
	defer resuming.Wait() // at most one goroutine per subscription
	room := make(chan struct{}, gapWorkers)
	again := time.NewTicker(gapRetry)
	defer again.Stop()
	for {
		select {
		case <-x.wake:
		case <-again.C: // try again to close gaps after errors
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

// takeGap returns a subject whose gap can be closed now, and the begin of the gap; nil if there is none.
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

// close lists the subject's jobs that have changed since, and delivers the statuses that were not delivered before.
// After an error the gap stays open.
func (x *Index) close(ctx context.Context, s *subject, since int64) {
	req := &trackerpb.ListRequest{
		Tenant: s.who.tenant, Subjects: []string{s.who.subject}, UpdatedFrom: max(since, 1), Limit: gapPage,
	}
	for {
		page, cancel := context.WithTimeout(ctx, x.pageIn)
		listed, err := x.up.List(page, req)
		cancel()
		if err != nil {
			pause.For(ctx, gapRetry) // the least time before the trackers are asked again
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
