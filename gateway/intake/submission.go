package intake

import (
	"errors"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// submission is a job that is being submitted.
type submission struct {
	id      auth.Identity
	jobID   string
	key     string
	former  []string           // other IDs that the key's job may have
	holder  string             // of the key's reservation
	to      *upstream.Upstream // the system that is to have the job
	payload []byte
	request topic.Request

	held     limits.Submit
	examined time.Duration // how long its checks took
}

// scope returns the scope of the jobs that the submit may find by its key: those of the same subject.
func (s *submission) scope() *auth.Scope { return auth.SubjectScope(s.id.Tenant, s.id.Subject) }

// existing returns the answer for a key whose job exists: the ack of a duplicate, or an error if the payload differs.
func (s *submission) existing(j *trackerpb.Job, hash string) (frame.AckFrame, int64, error) {
	if hash != s.request.PayloadHash {
		return frame.AckFrame{}, 0, frame.NewProblem(code.IdempotencyKeyReused, "the key was used with another payload")
	}
	doc, err := upstream.Document(j)
	if err != nil {
		return frame.AckFrame{}, 0, err
	}
	ack := s.ack()
	ack.State, ack.Duplicate = string(doc.State), true
	return ack, j.Version, nil
}

func (s *submission) ack() frame.AckFrame {
	state := job.Pending
	if s.request.RunAt != nil {
		state = job.Scheduled
	}
	return frame.AckFrame{JobID: s.jobID, State: string(state), StatusURL: statusURL(s.jobID)}
}

func statusURL(jobID string) string { return "/v1/jobs/" + jobID }

// errClosed is the error of a submit to the former system that does not have the job, and makes none of new keys.
var errClosed = errors.New("the key belongs to another topic prefix")
