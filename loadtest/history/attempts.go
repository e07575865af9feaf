package history

import (
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
)

// Attempt is one run in a job's document.
type Attempt struct {
	Number  int         `json:"n"`
	Outcome job.Outcome `json:"o,omitempty"` // empty while it runs
	Code    string      `json:"code,omitempty"`
}

// WithAttempts returns a record of a status or a GET with the attempts in its document. Nothing is added for a job that
// is in its first attempt and has not failed.
func (r Record) WithAttempts(attempt int, failure *job.Error, runs []job.Attempt) Record {
	if attempt <= 1 && r.State != job.Failed {
		return r
	}
	r.Attempt = attempt
	if failure != nil && r.State == job.Failed {
		r.Text = failure.Code
	}
	for _, a := range runs {
		of := Attempt{Number: a.Number, Outcome: a.Outcome}
		if a.Error != nil {
			of.Code = a.Error.Code
		}
		r.Runs = append(r.Runs, of)
	}
	return r
}

// Codes of a worker that could not begin a run: it releases the job, which costs no attempt.
var notBegun = []string{processor.CodeNoHandler, processor.CodeNoBlobStore, processor.CodeCommandNotStarted}

// Codes of jobs that fail without a run of their last attempt.
var withoutRun = []string{job.CodeDeadlineExceeded, job.CodeUnserved, job.CodePayloadMissing}

// unrun describes the attempt of a document that was spent without a run; empty when each had one. A job may have ended
// without a run before each of its retries.
func unrun(r Record, retries int) string {
	if r.Attempt == 0 {
		return ""
	}
	first, spent := 1, map[int]bool{}
	if len(r.Runs) >= job.MaxRuns {
		first = r.Runs[0].Number // older ones are left out of the document
	}
	for _, a := range r.Runs {
		if a.Outcome == job.OutcomeFailed && slices.Contains(notBegun, a.Code) {
			return fmt.Sprintf("attempt %d was spent by a worker that could not begin it: %s", a.Number, a.Code)
		}
		if a.Outcome != "" && a.Outcome != job.OutcomeReleased {
			spent[a.Number] = true
		}
	}
	for n := first; n < r.Attempt; n++ {
		if spent[n] {
			continue
		}
		retries--
		if retries < 0 {
			return fmt.Sprintf("it is at attempt %d, and of attempt %d no run is known that began and ended", r.Attempt, n)
		}
	}
	if r.State == job.Failed && !spent[r.Attempt] && !slices.Contains(withoutRun, r.Text) {
		return fmt.Sprintf("it failed with %q, and of its last attempt, %d, no run is known", r.Text, r.Attempt)
	}
	return ""
}
