package tracker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

func (i *instance) history(m *trackerpb.HistoryRequest) (*trackerpb.HistoryResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if m.Tenant == "" {
		m.Tenant = tenant
	}
	if m.Limit == 0 {
		m.Limit = 1000
	}
	r, err := i.api.History(ctx, connect.NewRequest(m))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// told returns a page's events, one line each.
func told(r *trackerpb.HistoryResponse) string {
	lines := make([]string, len(r.Events))
	for i, e := range r.Events {
		lines[i] = strings.TrimRight(fmt.Sprintf("%s %s %s %s %s", e.Type, e.Run, e.Verdict, e.State, e.Reason), " ")
	}
	return strings.Join(lines, "\n")
}

// wantHistory checks all events of a job.
func (i *instance) wantHistory(why, id string, want ...string) *trackerpb.HistoryResponse {
	i.w.t.Helper()
	r, err := i.history(&trackerpb.HistoryRequest{JobId: id})
	if err != nil {
		i.w.t.Fatalf("%s: %v", why, err)
	}
	if got := told(r); got != strings.Join(want, "\n") || r.Next != 0 {
		i.w.t.Errorf("%s: got\n%s\nnext %d, want\n%s", why, got, r.Next, strings.Join(want, "\n"))
	}
	return r
}

// TestHistory: the events of a job are told with what became of each, by the tracker that folded them and by one that
// has taken over, and those of a run that was given up with the reason why they changed nothing.
func TestHistory(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.view = true
		fs := vfs.NewMem()
		i := w.start(8090, fs)
		w.makeRequests()
		pos, _ := w.submit("job-1")
		w.submit("job-2")
		i.doc("job-1", w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 1, Run: "r1", Request: &pos}))
		w.append(&event.Event{Type: event.Progress, JobID: "job-1", Dispatch: 1, Run: "r1",
			Progress: &job.Progress{Percent: 40, Message: "half", Data: []byte(`{"a":  1}`)}})
		time.Sleep(15 * time.Second) // the lease runs out
		r, err := i.get(&trackerpb.GetRequest{JobId: "job-1"})
		if err != nil || r.Request == nil {
			t.Fatalf("after the lease: %v, %v", r, err)
		}
		again := event.Position{Topic: r.Request.Topic, Partition: r.Request.Partition, Offset: r.Request.Offset}
		w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 2, Run: "r2", Request: &again})
		w.append(&event.Event{Type: event.Completed, JobID: "job-1", Dispatch: 1, Run: "r1", Result: []byte(`"late"`)})
		w.append(&event.Event{Type: event.Failed, JobID: "job-1", Dispatch: 2, Run: "r2",
			Error: &event.Failure{Error: job.Error{Code: "broken", Message: "it broke"}}})
		i.doc("job-1", w.append(&event.Event{Type: event.Beat, JobID: "job-1", Dispatch: 2, Run: "r2"})-1)
		want := []string{
			"accepted  APPLIED pending", "claimed r1 APPLIED processing", "progress r1 APPLIED processing",
			"leaseExpired r1 APPLIED retrying", "requeued  APPLIED pending", "claimed r2 APPLIED processing",
			"completed r1 REFUSED processing old_dispatch", "failed r2 APPLIED failed", "beat r2 REFUSED failed ended",
		}
		time.Sleep(time.Second)
		all := i.wantHistory("by the tracker that folded it", "job-1", want...)
		progress, failure := all.Events[2], all.Events[7]
		if string(progress.Progress) != `{"percent":40,"message":"half","data":{"a":1}}` || progress.Worker != "worker" ||
			string(failure.Error) != `{"code":"broken","message":"it broke","retryable":false}` || all.Truncated {
			t.Errorf("progress %v, failure %v", progress, failure)
		}
		i.wantHistory("of another job", "job-2", "accepted  APPLIED pending")
		i.stop()

		other := w.start(8091, vfs.NewMem())
		defer other.stop()
		other.wantHistory("by another tracker", "job-1", want...)
		var paged []string
		from := &trackerpb.HistoryRequest{JobId: "job-1", Limit: 2}
		for {
			page, err := other.history(from)
			if err != nil {
				t.Fatal(err)
			}
			paged = append(paged, strings.Split(told(page), "\n")...)
			if page.Next == 0 {
				break
			}
			from.From, from.Life = page.Next, page.Life
		}
		if strings.Join(paged, "\n") != strings.Join(want, "\n") {
			t.Errorf("in pages:\n%s", strings.Join(paged, "\n"))
		}
		_, err = other.history(&trackerpb.HistoryRequest{JobId: "job-1", From: 3, Life: "elsewhere"})
		wantCode(t, "a place of another life", err, connect.CodeInvalidArgument)
		_, err = other.history(&trackerpb.HistoryRequest{JobId: "job-1", Limit: 1001})
		wantCode(t, "too many", err, connect.CodeInvalidArgument)
		_, err = other.history(&trackerpb.HistoryRequest{JobId: "job-1", Tenant: "globex"})
		wantCode(t, "another tenant's", err, connect.CodeNotFound)
		_, err = other.history(&trackerpb.HistoryRequest{JobId: "job-1",
			Scope: &trackerpb.Scope{Own: true, Subject: "mallory"}})
		wantCode(t, "another user's", err, connect.CodeNotFound)
	})
}

// TestHistoryThatWasRemoved: when retention has removed a job's first records, the history says so and tells what is
// left, without saying what became of it.
func TestHistoryThatWasRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		pos, _ := w.submit("job-1")
		i.doc("job-1", w.append(&event.Event{Type: event.Claimed, JobID: "job-1", Dispatch: 1, Run: "r1", Request: &pos}))
		w.drop()
		if r := i.wantHistory("nothing is left", "job-1"); !r.Truncated || r.Earliest != 0 {
			t.Errorf("got %v", r)
		}
		i.doc("job-1", w.append(&event.Event{Type: event.Beat, JobID: "job-1", Dispatch: 1, Run: "r1"}))
		r := i.wantHistory("a beat is left", "job-1", "beat r1 UNKNOWN")
		if !r.Truncated || r.Earliest != r.Events[0].At {
			t.Errorf("got %v", r)
		}
	})
}

// TestHistoryOfWhatCannotBeRead: a record that is no event is told as one that changed nothing.
func TestHistoryOfWhatCannotBeRead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		w.submit("job-1")
		w.produce(statusRecord(w, "job-1", "{"))
		i.doc("job-1", w.append(&event.Event{Type: event.CancelRequested, JobID: "job-1"}))
		i.wantHistory("with rubbish", "job-1",
			"accepted  APPLIED pending", "  REFUSED  unreadable", "cancelRequested  APPLIED cancelled")
	})
}

func (i *instance) payload(id string) (*trackerpb.PayloadResponse, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := i.api.Payload(ctx, connect.NewRequest(&trackerpb.PayloadRequest{JobId: id, Tenant: tenant}))
	if err != nil {
		return nil, err
	}
	return r.Msg, nil
}

// TestPayload: what was submitted is read from the job's request, and once that is removed the answer says so.
func TestPayload(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		pos, _ := w.submit("job-1")
		r, err := i.payload("job-1")
		if err != nil || string(r.Payload) != `{"for":"job-1"}` || r.Gone || r.Blob != "" || r.Job.Tenant != tenant {
			t.Fatalf("got %v, %v", r, err)
		}
		if _, err = i.payload("job-2"); err == nil {
			t.Fatal("a job that does not exist has a payload")
		}
		// A claim names another job's request, and a record that is no request at all.
		w.append(&event.Event{Type: event.Claimed, JobID: "job-3", Dispatch: 1, Run: "r", Request: &pos})
		of := event.Position{Topic: w.names.Status(), Partition: 0, Offset: 0}
		w.append(&event.Event{Type: event.Claimed, JobID: "job-4", Dispatch: 1, Run: "r", Request: &of})
		for _, id := range []string{"job-3", "job-4"} {
			if r, err = i.payload(id); err != nil || !r.Gone || len(r.Payload) > 0 {
				t.Errorf("%s: got %v, %v", id, r, err)
			}
		}
		w.dropFrom(w.names.Requests("default"))
		if r, err = i.payload("job-1"); err != nil || !r.Gone {
			t.Errorf("after retention: got %v, %v", r, err)
		}
	})
}

// TestReadingsTakeTurns: so many are read at a time; others wait, and are told when their time is over.
func TestReadingsTakeTurns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		w.makeRequests()
		w.submit("job-1")
		i.wantHistory("with all places free", "job-1", "accepted  APPLIED pending")
		for range maxReadings {
			if err := i.tracker.api.readings.enter(t.Context(), "other"); err != nil {
				t.Fatal(err)
			}
		}
		_, err := i.history(&trackerpb.HistoryRequest{JobId: "job-1"})
		wantCode(t, "no place becomes free", err, connect.CodeDeadlineExceeded)
		_, err = i.payload("job-1")
		wantCode(t, "nor for the payload", err, connect.CodeDeadlineExceeded)
		for range maxReadings {
			i.tracker.api.readings.leave()
		}
		i.wantHistory("with places free again", "job-1", "accepted  APPLIED pending")
	})
}
