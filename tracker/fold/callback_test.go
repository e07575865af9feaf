package fold

import (
	"fmt"
	"testing"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

func (l *log) wantDue(why string, state job.State, version int64) {
	l.t.Helper()
	if l.job.CallbackDue != version || version != 0 && l.job.CallbackState != state {
		l.t.Fatalf("%s: owes %s of version %d, want %s of %d", why, l.job.CallbackState, l.job.CallbackDue, state, version)
	}
}

func TestTheEndIsTold(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, callback())
	l.took("", event.Claimed)
	l.wantDue("nobody asked for this state", "", 0)
	l.took("", event.Completed)
	l.wantDue("it has ended", job.Completed, l.job.Version)
	due := l.job.Version
	if r := l.add(event.CallbackQueued, told(due-1)); r.Changed || r.Reason != NotOwed {
		t.Fatalf("another version: %+v", r)
	}
	document := string(l.job.Document())
	if r := l.took("", event.CallbackQueued, told(due)); !r.Quiet || string(l.job.Document()) != document {
		t.Fatal("the document has changed, or watchers are woken")
	}
	l.wantDue("it was told", "", 0)
	if len(l.job.Deliveries) != 1 || l.job.Deliveries[0].Version != due {
		t.Fatalf("deliveries %+v", l.job.Deliveries)
	}
	if r := l.add(event.CallbackQueued, told(due)); r.Changed || r.Reason != NotOwed {
		t.Fatalf("said twice: %+v", r)
	}
	l.took("", event.RetryRequested)
	l.took("", event.Claimed, dispatch(2))
	l.took("", event.Completed, dispatch(2))
	l.wantDue("each round's end is told", job.Completed, l.job.Version)
}

func TestStatesThatWereChosenAreTold(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, callback(job.Processing, job.Failed))
	l.took("", event.Claimed)
	due := l.job.Version
	l.wantDue("it began", job.Processing, due)
	l.took("", event.Progress)
	l.wantDue("progress begins no state", job.Processing, due)
	l.took("", event.Failed)
	l.wantDue("retrying was not asked for", job.Processing, due)
	l.took("", event.Claimed, dispatch(2))
	l.wantDue("a newer state takes its place", job.Processing, l.job.Version)
	l.took("", event.Completed, dispatch(2))
	l.wantDue("completed was not asked for", job.Processing, l.job.Version-1)
}

func TestAJobRemembersItsLastWebhooks(t *testing.T) {
	l := newLog(t)
	l.took("", event.Accepted, callback(job.Cancelled))
	for i := range MaxDeliveries + 3 {
		l.took("", event.CancelRequested, round(i))
		l.took("", event.CallbackQueued, told(l.job.CallbackDue), func(e *event.Event) {
			e.Delivery.JobID = fmt.Sprint("d", i)
		})
		l.took("", event.RetryRequested, round(i))
	}
	if n := len(l.job.Deliveries); n != MaxDeliveries || l.job.Deliveries[0].JobID != "d3" {
		t.Fatalf("%d deliveries, the first %s", n, l.job.Deliveries[0].JobID)
	}
}
