package watch

import (
	"context"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// TestQueuesAreToldToWhoAsks: the newest report alone waits for a slow stream, and one that has left gets none.
func TestQueuesAreToldToWhoAsks(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var q Queues
		asked, other, left := NewStream(), NewStream(), NewStream()
		q.Add(asked)
		q.Add(left)
		left.Close()
		q.Leave(left)
		q.Add(left)
		for n := range int32(3) {
			q.Tell(&trackerpb.Queues{Total: n})
		}
		next := func(s *Stream) *trackerpb.WatchResponse {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, _ := s.Next(ctx)
			return r
		}
		if r := next(asked); r.GetQueues().GetTotal() != 2 {
			t.Errorf("the stream that asked got %v", r)
		}
		for _, s := range []*Stream{asked, other, left} {
			if r := next(s); r != nil {
				t.Errorf("something more was sent: %v", r)
			}
		}
		if len(q.streams) != 1 {
			t.Errorf("%d streams are known", len(q.streams))
		}
	})
}
