package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

func TestStanding(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	soon, past := now.Add(time.Minute), now.Add(-time.Minute)
	running := []job.Attempt{{Number: 2, Worker: "w1", StartedAt: past}}
	unable := []job.Attempt{
		{
			Number: 1, Worker: "w2", StartedAt: past, EndedAt: &now, Outcome: job.OutcomeReleased,
			Error: &job.Error{Code: "no_handler"},
		},
	}
	for _, tc := range []struct {
		doc       job.Document
		requested bool
		want      string // reason: detail; empty when the lane has to be asked
	}{
		{job.Document{State: job.Completed}, false, "ended: It completed."},
		{job.Document{State: job.Cancelled, CancelRequested: true}, false, "ended: It was cancelled."},
		{
			job.Document{State: job.Failed, Attempt: 3, Error: &job.Error{Code: "boom"}}, false,
			"ended: It failed with boom in attempt 3 of 3.",
		},
		{
			job.Document{State: job.Processing, Attempt: 2, Attempts: running}, true,
			"running: Worker w1 works on attempt 2 of 3.",
		},
		{job.Document{State: job.Processing, Attempt: 1}, true, "running: A worker works on attempt 1 of 3."},
		{
			job.Document{State: job.Processing, CancelRequested: true}, true,
			"cancelling: It was asked to be cancelled, and its handler was told to stop.",
		},
		{job.Document{State: job.Queued}, true, "about_to_start: A worker has it and starts it when it has a free slot."},
		{job.Document{State: job.Scheduled, RunAt: &soon}, false, "scheduled: It is to start at 2026-01-02T03:05:05Z."},
		{
			job.Document{State: job.Scheduled, RunAt: &past}, false,
			"being_handed_out: Its start is due and is being put into lane slow.",
		},
		{
			job.Document{State: job.Retrying, Attempt: 2, RetryAt: &soon}, false,
			"waiting_for_retry: An attempt failed; attempt 2 of 3 is due at 2026-01-02T03:05:05Z.",
		},
		{job.Document{State: job.Retrying, Attempt: 1, RetryAt: &soon, Attempts: unable}, false,
			"unserved: Worker w2 could not run it (no_handler), which costs no attempt. It is handed out again at " +
				"2026-01-02T03:05:05Z."},
		{
			job.Document{State: job.Retrying, Attempt: 1, RetryAt: &now, Attempts: unable}, false,
			"being_handed_out: Its next try is due and is being put into lane slow.",
		},
		{
			job.Document{State: job.Retrying, RetryAt: &now}, false,
			"being_handed_out: Its next attempt is due and is being put into lane slow.",
		},
		{job.Document{State: job.Pending}, false, "being_handed_out: It is due and is being put into lane slow."},
		{job.Document{State: job.Pending}, true, ""},
	} {
		tc.doc.MaxAttempts = 3
		why := &frame.Why{Lane: "slow"}
		known := standing(why, &tc.doc, now, tc.requested)
		got := fmt.Sprintf("%s: %s", why.Reason, why.Detail)
		if known != (tc.want != "") || known && got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.doc.State, got, tc.want)
		}
		if waits := why.Reason == frame.Scheduled || why.Reason == frame.WaitingForRetry ||
			why.Reason == frame.Unserved; waits != (why.NextAt != nil) {
			t.Errorf("%s: next at %v", why.Reason, why.NextAt)
		}
	}
}
