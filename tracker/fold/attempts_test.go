package fold

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestHistoryOfAttempts: what people read of a job that was released, lost, timed out,
// failed and cancelled, and in the end completed.
func TestHistoryOfAttempts(t *testing.T) {
	var j *Job
	offset := int64(0)
	apply := func(e event.Event) {
		t.Helper()
		e.V, e.JobID = event.Version, "job"
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		r := Fold(j, &e, Meta{Offset: offset, Time: time.Unix(offset, 0)})
		if !r.Changed {
			t.Fatalf("%s at %d refused: %s", e.Type, offset, r.Reason)
		}
		j = r.Job
		offset++
	}
	policy := &job.Policy{Attempts: 5, Lease: job.Seconds(time.Minute), Retention: job.Seconds(time.Hour)}
	request := &event.Position{Topic: "requests.default"}
	runs := 0
	run := func(e event.Event) event.Event {
		e.Dispatch, e.Run, e.Worker = j.Dispatch, fmt.Sprintf("r%d", runs), fmt.Sprintf("w%d", runs)
		return e
	}
	claim := func() {
		t.Helper()
		runs++
		apply(run(event.Event{Type: event.Claimed, Job: "t", Tenant: "acme", PayloadHash: "h", Policy: policy,
			Request: request}))
	}
	failure := &event.Failure{
		Error: job.Error{Code: strings.Repeat("c", 1000), Message: strings.Repeat("ä", 5000), Retryable: true},
	}

	apply(event.Event{Type: event.Accepted, Job: "t", Tenant: "acme", PayloadHash: "h", Policy: policy, Request: request})
	claim()
	apply(run(event.Event{Type: event.Released}))
	claim()
	apply(run(event.Event{Type: event.LeaseExpired, Renewal: &j.Renewal}))
	claim()
	apply(run(event.Event{Type: event.AttemptTimedOut}))
	claim()
	before, err := json.Marshal(j.Doc)
	if err != nil {
		t.Fatal(err)
	}
	was := j
	apply(run(event.Event{Type: event.Failed, Error: failure}))
	if after, err := json.Marshal(was.Doc); err != nil || string(after) != string(before) {
		t.Error("a fold has changed the job that it was given")
	}
	claim()
	apply(event.Event{Type: event.CancelRequested})
	apply(run(event.Event{Type: event.Failed, Error: failure}))
	apply(event.Event{Type: event.RetryRequested, Round: j.Round})
	claim()
	apply(run(event.Event{Type: event.Completed}))

	want := "1 w1 released, 1 w2 lost, 2 w3 timedOut, 3 w4 failed, 4 w5 cancelled, 5 w6 completed"
	var got []string
	for _, a := range j.Doc.Attempts {
		got = append(got, fmt.Sprintf("%d %s %s", a.Number, a.Worker, a.Outcome))
		if a.EndedAt == nil || !a.EndedAt.After(a.StartedAt) {
			t.Errorf("attempt %+v has no end", a)
		}
		if a.Error != nil && (len(a.Error.Code) > maxCode || len(a.Error.Message) > maxMessage) {
			t.Errorf("an error of %d and %d bytes", len(a.Error.Code), len(a.Error.Message))
		}
	}
	if s := strings.Join(got, ", "); s != want {
		t.Errorf("attempts %s\nwant     %s", s, want)
	}

	for range 3 * job.MaxRuns {
		apply(event.Event{Type: event.RetryRequested, Round: j.Round})
		claim()
		apply(run(event.Event{Type: event.Completed}))
	}
	if n := len(j.Doc.Attempts); n != job.MaxRuns || j.Doc.Attempts[n-1].Number != j.Doc.Attempt {
		t.Errorf("%d attempts are shown, the last is %+v", n, j.Doc.Attempts[n-1])
	}
}
