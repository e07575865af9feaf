package fold

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestNoGrant: a claim with noGrant is not answered by granted. The same claim sent again without noGrant,
// as by a worker in doubt, is. A refused claim is stopped in either case.
func TestNoGrant(t *testing.T) {
	claim := event.Event{V: event.Version, Type: event.Claimed, JobID: "j", Job: "t", Tenant: "acme", PayloadHash: "h",
		Policy: &job.Policy{Attempts: 3}, Request: &event.Position{Topic: "requests.default"}, Dispatch: 1, Run: "r",
		Worker: "w", NoGrant: true}
	at := Meta{Time: time.Unix(0, 0)}
	r := Fold(nil, &claim, at)
	if !r.Changed || len(r.Orders) != 0 {
		t.Errorf("a claim that starts by itself: %+v", r.Orders)
	}
	claim.NoGrant, at.Offset = false, 1
	r = Fold(r.Job, &claim, at)
	if !r.Changed || len(r.Orders) != 1 || r.Orders[0].Type != event.Granted {
		t.Errorf("said again in doubt: %+v", r.Orders)
	}
	claim.NoGrant, claim.Run, at.Offset = true, "other", 2
	r = Fold(r.Job, &claim, at)
	if r.Changed || len(r.Orders) != 1 || r.Orders[0].Type != event.Stop {
		t.Errorf("another run's: %+v", r.Orders)
	}
}
