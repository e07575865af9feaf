package hub

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// TestWatchesThatCameWithAnAckAreAskedForAsAcked: a tracker tells such watches of an end at once. One watch of the job
// that did not come with an ack takes that away from all, since a retry may be acked that it must not miss.
func TestWatchesThatCameWithAnAckAreAskedForAsAcked(t *testing.T) {
	scope := auth.TenantScope("acme")
	for name, c := range map[string]struct {
		min  []int64 // MinVersion of each subscription
		want bool
	}{
		"an ack": {[]int64{5}, true}, "two acks": {[]int64{5, 7}, true},
		"a subscribe": {[]int64{0}, false}, "an ack and a subscribe": {[]int64{5, 0}, false},
	} {
		t.Run(name, func(t *testing.T) {
			h, up := New(time.Minute), &noUpstream{}
			h.Attach(up)
			for _, v := range c.min {
				h.Subscribe(&Subscription{Subscriber: &watcher{}, JobID: "a", Scope: scope, MinVersion: v})
			}
			h.Lost([]string{"a"}) // asks for all of them
			if up.last.Acked != c.want {
				t.Errorf("acked is %v", up.last.Acked)
			}
		})
	}
}

// TestTheEndForAnAckIsNotTheEndForALaterSubscribe: while a watch that came with an ack is asked for, a client
// subscribes to the same job. The tracker did not look for a retry when it told of the end, so the subscribe is asked
// for by itself.
func TestTheEndForAnAckIsNotTheEndForALaterSubscribe(t *testing.T) {
	scope := auth.TenantScope("acme")
	for _, withheld := range []bool{false, true} {
		h, up := New(time.Minute), &noUpstream{}
		h.Attach(up)
		acked, later := &watcher{}, &watcher{}
		h.Subscribe(&Subscription{Subscriber: acked, JobID: "a", Scope: scope, MinVersion: 1, Patient: true})
		h.Subscribe(&Subscription{Subscriber: later, JobID: "a", Scope: scope})
		answer := &trackerpb.Watched{JobId: "a", Who: scope.Key(), Outcome: trackerpb.Watched_WATCHING, Version: 3,
			Position: 3, Ended: true}
		if withheld {
			answer.Withheld = 1 << 20
		}
		h.Watched(answer)
		end := &trackerpb.Job{JobId: "a", Tenant: "acme", Version: 3, Terminal: true, Document: []byte("{}")}
		if !withheld {
			h.Update(end)
			if len(acked.frames) != 1 {
				t.Errorf("the submitter was sent %d statuses", len(acked.frames))
			}
			if up.lost != 1 {
				t.Fatalf("the watch was given up %d times", up.lost)
			}
			h.Lost([]string{"a"})
		}
		if len(later.frames) != 0 {
			t.Error("the later subscriber was told of the end")
		}
		if up.added != 2 || up.last.Acked {
			t.Fatalf("asked %d times, acked %v", up.added, up.last.Acked)
		}
		h.Watched(&trackerpb.Watched{JobId: "a", Who: scope.Key(), Outcome: trackerpb.Watched_WATCHING, Version: 3,
			Position: 3, Ended: true})
		h.Update(end)
		if len(later.frames) != 1 {
			t.Errorf("the later subscriber was sent %d statuses", len(later.frames))
		}
	}
}
