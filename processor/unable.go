package processor

import (
	"errors"
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/schemas/event"
)

// Error codes with which a worker hands back a job that it cannot run. This costs no attempt, and another worker of the
// lane, or this one later, may be able to run the job.
const (
	CodeNoHandler            = "no_handler"              // this worker has no handler for the job's type
	CodeNoBlobStore          = "no_blob_store"           // the payload is in a blob store, and this worker has none
	CodeBlobStoreUnavailable = "blob_store_unavailable"  // the payload could not be read from the blob store
	CodeCommandNotStarted    = "command_not_started"     // the handler's command could not be started
	CodeHTTPUnreachable      = "http_unreachable"        // no connection to the handler's endpoint
	CodeWebhookPaused        = "webhook_endpoint_paused" // the endpoint failed too often and is paused
	CodeWebhookNoSecret      = "webhook_no_secret"       // this worker has no secret of the tenant
	CodeWebhookBusy          = "webhook_endpoint_busy"   // the endpoint, or its tenant, uses its whole share of the slots
)

// unableReasons are the label values of unable_total; all other codes are counted as unableOther.
var unableReasons = []string{CodeNoHandler, CodeNoBlobStore, CodeBlobStoreUnavailable, CodeCommandNotStarted,
	CodeHTTPUnreachable,
	CodeWebhookPaused, CodeWebhookNoSecret, CodeWebhookBusy, unableOther}

const unableOther = "other"

type unableError struct{ error }

func (e unableError) Unwrap() error { return e.error }

// Unable marks err as a problem of this worker and not of the job: the handler needs something that this worker does
// not have, and it has done nothing of the job. The job is handed back, which costs no attempt, and handed out again
// after a pause that grows from a second to five minutes; RetryAfter makes the pause longer. If no worker can run the
// job for job.MaxUnserved it fails with job.CodeUnserved. Name the reason with WithCode. Unable(nil) is nil.
func Unable(err error) error {
	if err == nil {
		return nil
	}
	return unableError{err}
}

// lacks returns an error of Unable if this worker cannot run a job, for want of a handler or of a blob store.
func (p *Processor) lacks(jobType, blob string) error {
	switch {
	case p.handlers[jobType] == nil:
		return Unable(WithCode(CodeNoHandler, fmt.Errorf("this worker has no handler for job type %q", jobType)))
	case blob != "" && p.blobs == nil:
		return Unable(WithCode(CodeNoBlobStore, errors.New("the payload is in a blob store, and this worker has none")))
	}
	return nil
}

// handBack returns the ending of a run whose worker cannot run the job. It reports false if err is not an error of
// Unable.
func handBack(err error) (ending, bool) {
	var unable unableError
	if !errors.As(err, &unable) {
		return ending{}, false
	}
	f := failureOf(err, nil)
	f.Retryable = true
	return ending{event: event.Released, outcome: ranUnable, failure: f}, true
}

// noteUnable counts a job that is handed back.
func (m *metrics) noteUnable(why *event.Failure) {
	reason := why.Code
	if !slices.Contains(unableReasons, reason) {
		reason = unableOther
	}
	m.unable.WithLabelValues(reason).Inc()
}
