package fold

import (
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// moved reports whether the event comes after its partition was closed, and is of a job with an idempotency key: if
// the job is not known it must not be made, because another topic prefix has the key by then. Such jobs have a named
// life from the first event on; jobs without a key are made here as before, for their IDs are used once.
func (s *step) moved() bool {
	return s.at.ClosedAt > 0 && s.at.Offset >= s.at.ClosedAt && s.e.Life != ""
}

// youngRequest is the age up to which the claim of a request may always make its job, however short the
// retention is, because the job's accepted may still be on its way. It is MaxSubmit, the longest that a
// submit takes, plus the difference that brokers' clocks may have.
const youngRequest = job.MaxSubmit + 10*time.Second

// stale reports whether a claim for an unknown job may be for one that has expired.
//
// Kafka may deliver a request again for as long as it keeps it: a consumer group that was empty for a
// week loses its offsets. A job exists for at least its retention. So a request that is younger cannot
// have had a job that has expired: its accepted is late or lost, and the claim makes the job. A request
// that is older makes none; no client was acked for it, or its accepted would be there. A claim is accepted
// if it does not tell its request's age, or has its own time from the worker: a wrong clock must not lose a job.
func (s *step) stale() bool {
	if s.e.RequestedAt == nil || s.at.ByWriter {
		return false
	}
	return Outlived(s.at.Time.Sub(*s.e.RequestedAt), s.e.Policy)
}

// Outlived reports whether a request is so old that it may have had a job that has expired.
func Outlived(age time.Duration, p *job.Policy) bool {
	return age >= max(p.Retention.Duration(), youngRequest)
}

// payloadLost fails a job whose payload is lost: Kafka no longer holds the request that a pending job
// waits for, or the first request, from which later ones are made.
func (s *step) payloadLost() Result {
	j := s.old
	switch {
	case j == nil || j.Ended() || j.Doc.State == job.Processing || s.e.Dispatch != j.Dispatch:
		return s.refuse(s.notHeld())
	case (j.Request == nil) != (s.e.Request == nil) || j.Request != nil && *j.Request != *s.e.Request:
		return s.refuse(WrongRequest)
	}
	j = s.change()
	j.Doc.Error = &job.Error{Code: job.CodePayloadMissing, Message: "the log no longer holds the job's payload"}
	j.end(job.Failed, s.at)
	return s.took()
}

// requestLost dispatches a job again whose request is among the dead letters, where no worker takes it,
// because an operator asks for it. The request's position is the fence, for a request belongs to one
// dispatch, and the dispatch in a dead letter may be unreadable.
func (s *step) requestLost() Result {
	switch j := s.old; {
	case j == nil:
		return s.refuse(UnknownJob)
	case j.Ended():
		return s.refuse(Ended)
	case !AwaitsRequest(j):
		return s.refuse(NotHeld)
	case *j.Request != *s.e.Request:
		return s.refuse(WrongRequest)
	}
	s.change().handOut(s.at, 0)
	return s.took()
}

// AwaitsRequest reports whether the job waits until a worker takes its request.
func AwaitsRequest(j *Job) bool {
	return (j.Doc.State == job.Pending || j.Doc.State == job.Queued) && j.Request != nil
}

// LostPayload returns the event by which the tracker reports that a job's payload is lost.
func LostPayload(j *Job) *event.Event {
	return &event.Event{
		Type: event.PayloadLost, JobID: j.Doc.JobID, Life: j.Life, Dispatch: j.Dispatch, Request: j.Request,
	}
}
