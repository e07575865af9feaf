package fold

import (
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// youngRequest is how old a request may be, whatever its policy, and still make a job by its
// claim: accepted, which makes the job otherwise, may still be on its way. It is longer than a
// submit may take (MaxSubmit) by what clocks of brokers may differ.
const youngRequest = job.MaxSubmit + 10*time.Second

// stale reports whether a claim of a job that is not known may be of one that has expired. Kafka
// may deliver a request again for as long as it keeps it: a group that was empty for a week loses
// its offsets. A job lives longer than its retention, so a request that is younger cannot have had
// a job: its accepted is late or lost, and the claim makes the job, however long the request lay
// there within that time. One that is older makes none: nobody was told of a job that has no
// accepted for so long. A claim that does not say how old its request is, is believed.
func (s *step) stale() bool {
	if s.e.RequestedAt == nil {
		return false
	}
	return Outlived(s.at.Time.Sub(*s.e.RequestedAt), s.e.Policy)
}

// Outlived reports whether the job of a request of that age may have been and have expired.
func Outlived(age time.Duration, p *job.Policy) bool {
	return age >= max(p.Retention.Duration(), youngRequest)
}

// payloadLost ends a job whose next run could not have its payload: Kafka no longer holds the
// request that a pending job waits for, or the first one, from which later ones are made.
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

// requestLost hands a job out anew whose request no worker will take: it is among the dead letters,
// and an operator asks for another. A request belongs to one dispatch, so its place is the fence; it
// may be the dispatch itself that cannot be read there.
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

// AwaitsRequest reports whether the job can go on only by its request, which a worker is to take.
func AwaitsRequest(j *Job) bool {
	return (j.Doc.State == job.Pending || j.Doc.State == job.Queued) && j.Request != nil
}

// LostPayload is the event by which the tracker says that a job's payload is gone.
func LostPayload(j *Job) *event.Event {
	return &event.Event{
		Type: event.PayloadLost, JobID: j.Doc.JobID, Life: j.Life, Dispatch: j.Dispatch, Request: j.Request,
	}
}
