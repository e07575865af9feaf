package problem

import (
	"fmt"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// RetryAfter is how long clients are told to wait when something that the gateway needs does not answer.
const RetryAfter = time.Second

// MaxReason bounds a text about a request that could not be read, parts of which come from the client, in characters.
const MaxReason = 200

// Unavailable returns the error of a request for which Kafka, a tracker or the blob store does not answer.
func Unavailable(detail string) error {
	p := frame.NewProblem(code.Unavailable, detail)
	p.RetryAfter = RetryAfter.Seconds()
	return p
}

// Indeterminate returns the error of a write whose outcome is not known.
func Indeterminate(jobID string) error {
	p := frame.NewProblem(code.Indeterminate, "the broker did not answer in time")
	p.JobID, p.RetryAfter = jobID, RetryAfter.Seconds()
	return p
}

// UnknownType returns the error of a submit whose job type is not declared here.
func UnknownType(name string) error {
	return frame.NewProblem(code.UnknownJobType, fmt.Sprintf("%.64q is not a job type here", name))
}

// OfTracker returns the error for clients of an error of the upstream.
func OfTracker(err error) error {
	switch connect.CodeOf(err) {
	case connect.CodeNotFound, connect.CodeInvalidArgument:
		return frame.NewProblem(code.NotFound, "")
	case connect.CodeUnavailable, connect.CodeFailedPrecondition, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return Unavailable("the tracker does not answer")
	default:
		return fmt.Errorf("ask tracker: %w", err)
	}
}
