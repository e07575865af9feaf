package api

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/queue"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// whys are the route that tells what a job waits for.
type whys struct {
	*reads
	backlogs *backlogs
}

// getWhy handles GET /v1/jobs/{id}/why.
func (wy *whys) getWhy(w http.ResponseWriter, r *http.Request) {
	got, id, ok := wy.readNow(w, r, true)
	if !ok {
		return
	}
	why, err := wy.why(r.Context(), id, got)
	if err != nil {
		wy.problem(w, err)
		return
	}
	wy.answer(w, why)
}

// why returns what a job waits for. It asks Kafka only if the job waits for a worker.
func (wy *whys) why(ctx context.Context, id auth.Identity, got *trackerpb.GetResponse) (*frame.Why, error) {
	doc, err := upstream.Document(got.Job)
	if err != nil {
		return nil, err
	}
	why := &frame.Why{JobID: doc.JobID, State: doc.State, Lane: got.Lane, AsOf: unixTime(got.AsOf)}
	if standing(why, doc, time.Now(), got.Request != nil) {
		return why, nil
	}
	lanes, err := wy.backlogs.ask(ctx, wy.backlogs.of(got.Lane, got.Request.Topic), got.Lane)
	if err != nil {
		return nil, err
	}
	inLane(why, lanes[got.Lane], got.Request, id)
	if unservedBy(doc) != nil {
		why.Detail += " " + unservedDetail(doc)
	}
	return why, nil
}

// standing sets the reason if the document alone tells it. It reports false if the job waits for a worker of its lane.
func standing(why *frame.Why, doc *job.Document, now time.Time, requested bool) bool {
	handOut := func(due string) {
		why.Reason, why.Detail = frame.BeingHandedOut, due+" and is being put into lane "+why.Lane+"."
	}
	until := func(reason frame.Reason, at *time.Time, format string) bool {
		if at == nil || !at.After(now) {
			return false
		}
		why.Reason, why.NextAt, why.Detail = reason, at, fmt.Sprintf(format, at.UTC().Format(time.RFC3339))
		return true
	}
	switch {
	case doc.State.Terminal():
		why.Reason, why.Detail = frame.Ended, endedDetail(doc)
	case doc.CancelRequested:
		why.Reason, why.Detail = frame.Cancelling, "It was asked to be cancelled, and its handler was told to stop."
	case doc.State == job.Processing:
		why.Reason, why.Detail = frame.Running, fmt.Sprintf("%s works on attempt %d of %d.", workerOf(doc), doc.Attempt,
			doc.MaxAttempts)
	case doc.State == job.Queued:
		why.Reason, why.Detail = frame.AboutToStart, "A worker has it and starts it when it has a free slot."
	case doc.State == job.Scheduled:
		if !until(frame.Scheduled, doc.RunAt, "It is to start at %s.") {
			handOut("Its start is due")
		}
	case doc.State == job.Retrying && unservedBy(doc) != nil:
		if !until(frame.Unserved, doc.RetryAt, strings.ReplaceAll(unservedDetail(doc), "%", "%%")+
			" It is handed out again at %s.") {
			handOut("Its next try is due")
		}
	case doc.State == job.Retrying:
		if !until(frame.WaitingForRetry, doc.RetryAt, fmt.Sprintf("An attempt failed; attempt %d of %d is due at %%s.",
			doc.Attempt, doc.MaxAttempts)) {
			handOut("Its next attempt is due")
		}
	case !requested:
		handOut("It is due")
	default:
		return false
	}
	return true
}

func endedDetail(doc *job.Document) string {
	if doc.State == job.Failed && doc.Error != nil {
		return fmt.Sprintf("It failed with %s in attempt %d of %d.", doc.Error.Code, doc.Attempt, doc.MaxAttempts)
	}
	if doc.State == job.Cancelled {
		return "It was cancelled."
	}
	return fmt.Sprintf("It %s.", doc.State)
}

// unservedBy returns the last run if its worker could not run the job and handed it back; else nil.
func unservedBy(doc *job.Document) *job.Attempt {
	if n := len(doc.Attempts); n > 0 && doc.Attempts[n-1].Outcome == job.OutcomeReleased &&
		doc.Attempts[n-1].Error != nil {
		return &doc.Attempts[n-1]
	}
	return nil
}

func unservedDetail(doc *job.Document) string {
	last := unservedBy(doc)
	return fmt.Sprintf("Worker %s could not run it (%s), which costs no attempt.", last.Worker, last.Error.Code)
}

func workerOf(doc *job.Document) string {
	if n := len(doc.Attempts); n > 0 && doc.Attempts[n-1].EndedAt == nil {
		return "Worker " + doc.Attempts[n-1].Worker
	}
	return "A worker"
}

// inLane sets the reason of a job whose request is in the topic of its lane.
func inLane(why *frame.Why, l lane, request *trackerpb.Position, id auth.Identity) {
	if taken, ok := l.taken[request.Partition]; ok {
		why.Ahead = max(0, request.Offset-taken)
	}
	about := ""
	if !id.May(auth.Operate) {
		why.Ahead, about = queue.Class(why.Ahead), "at least "
	}
	l = l.seenBy(id)
	why.Workers, why.Waiting = &l.workers, &l.waiting
	switch {
	case l.workers == 0:
		why.Reason, why.Detail = frame.NoWorkers, "No worker is connected to lane "+why.Lane+"."
	case why.Ahead > 0:
		why.Reason = frame.BehindOthers
		why.Detail = fmt.Sprintf("%s before it in its partition of lane %s, which has %s.",
			sentence(about+are(why.Ahead, "request")), why.Lane, about+many(int64(l.workers), "worker"))
	default:
		why.Reason, why.Detail = frame.AboutToStart, "It is next in its partition of lane "+why.Lane+
			", or a worker has just taken it."
	}
}

// sentence returns a text with its first letter, if that is one, in upper case.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func many(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func are(n int64, what string) string {
	if n == 1 {
		return many(n, what) + " is"
	}
	return many(n, what) + " are"
}
