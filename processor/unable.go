package processor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/schemas/event"
)

// Codes of why a worker cannot run a job. The job is handed back with them: it costs no attempt,
// and another worker of the lane, or this one later, may be able to.
const (
	CodeNoHandler            = "no_handler"             // this worker has no handler for the job's type
	CodeNoBlobStore          = "no_blob_store"          // the payload is in a blob store, and this worker has none
	CodeBlobStoreUnavailable = "blob_store_unavailable" // the blob store did not give the payload
	CodeCommandNotStarted    = "command_not_started"    // the handler's command could not be started
	CodeHTTPUnreachable      = "http_unreachable"       // no connection to the handler's endpoint
	CodeWebhookPaused        = "webhook_endpoint_paused"
	CodeWebhookNoSecret      = "webhook_no_secret"
	CodeWebhookBusy          = "webhook_endpoint_busy" // the endpoint, or its tenant, has its share of the slots
)

// unableReasons are the labels of unable_total; all other codes are one.
var unableReasons = []string{CodeNoHandler, CodeNoBlobStore, CodeBlobStoreUnavailable, CodeCommandNotStarted,
	CodeHTTPUnreachable,
	CodeWebhookPaused, CodeWebhookNoSecret, CodeWebhookBusy, unableOther}

const unableOther = "other"

type unableError struct{ error }

func (e unableError) Unwrap() error { return e.error }

// Unable marks err as this worker's inability, and not the job's failure: what the handler needs
// is missing here, and nothing of the job was done. The job is handed back, which costs no
// attempt, and handed out again after a pause that grows from a second to five minutes; RetryAfter
// makes it longer. After job.MaxUnserved without a run the job fails with job.CodeUnserved. Name
// the reason with WithCode. Unable(nil) is nil.
func Unable(err error) error {
	if err == nil {
		return nil
	}
	return unableError{err}
}

// Slots is how many jobs of a lane it holds at the same time.
func (p *Processor) Slots() int { return p.cfg.Slots }

// lacks is what this worker lacks for a job; nil when it can run it.
func (p *Processor) lacks(jobType, blob string) error {
	switch {
	case p.handlers[jobType] == nil:
		return Unable(WithCode(CodeNoHandler, fmt.Errorf("this worker has no handler for job type %q", jobType)))
	case blob != "" && p.blobs == nil:
		return Unable(WithCode(CodeNoBlobStore, errors.New("the payload is in a blob store, and this worker has none")))
	}
	return nil
}

// handBack is the ending of a run whose worker cannot run the job; false when err says nothing
// of the kind.
func handBack(err error) (ending, bool) {
	var unable unableError
	if !errors.As(err, &unable) {
		return ending{}, false
	}
	f := failureOf(err, nil)
	f.Retryable = true
	return ending{event: event.Released, outcome: ranUnable, failure: f}, true
}

// giveBack gives back a job that this worker lacks something for. It waits for no grant: the fold
// refuses the release of a claim that was not taken. It is called with mu held.
func (r *run) giveBack() {
	e, _ := handBack(r.lacks)
	r.leaveQueue(claimUnable)
	r.log.Warn("job handed back: this worker cannot run it", "type", r.job.Type, "code", e.failure.Code, "err", r.lacks)
	r.conclude(e)
}

// noteUnable counts a job that is handed back.
func (m *metrics) noteUnable(why *event.Failure) {
	reason := why.Code
	if !slices.Contains(unableReasons, reason) {
		reason = unableOther
	}
	m.unable.WithLabelValues(reason).Inc()
}
