package fold

import (
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// This file has the events of the job's submitter: cancel and retry, which a client asks for, and the
// deadline and the retention, which the submit sets.

// cancelRequested cancels a job that no run holds. A run that holds it is told to quit, and has the policy's
// grace period to end.
func (s *step) cancelRequested() Result {
	switch j := s.old; {
	case j == nil:
		return s.refuse(UnknownJob)
	case j.Ended():
		return s.refuse(Ended)
	case s.e.Round != j.Round:
		return s.refuse(WrongRound)
	}
	j := s.change()
	if j.Doc.State != job.Processing {
		j.end(job.Cancelled, s.at)
		return s.took()
	}
	if !j.Doc.CancelRequested {
		j.Doc.CancelRequested = true
		j.CancelAt = &s.at.Clock
	}
	return s.took(s.orderHolder(event.Quit)...)
}

// cancelForced ends a cancelled run whose grace period is over.
func (s *step) cancelForced() Result {
	switch j := s.old; {
	case j == nil || j.Doc.State != job.Processing || s.e.Dispatch != j.Dispatch:
		return s.refuse(s.notHeld())
	case !j.Doc.CancelRequested:
		return s.refuse(NotRequested)
	}
	stop := s.orderHolder(event.Stop)
	j := s.change()
	j.endRun(job.OutcomeCancelled, nil, s.at.Time)
	j.end(job.Cancelled, s.at)
	return s.took(stop...)
}

// retryRequested opens an ended job again, with a new budget of attempts.
func (s *step) retryRequested() Result {
	switch j := s.old; {
	case j == nil:
		return s.refuse(UnknownJob)
	case !j.Ended():
		return s.refuse(NotEnded)
	case j.Erased():
		return s.refuse(Ended)
	case s.e.Round != j.Round:
		return s.refuse(WrongRound)
	}
	j := s.change()
	j.handOut(s.at, 0)
	j.Round++
	j.RoundAt = s.at.Clock
	j.Doc.Attempt++
	j.Doc.MaxAttempts = j.Doc.Attempt + j.Policy.Attempts - 1
	j.Doc.CancelRequested = false
	j.Unserved = nil
	j.Doc.FinishedAt, j.Doc.StartedAt = nil, nil
	j.Doc.Result, j.Doc.ResultURL, j.ResultBlob = nil, "", nil
	j.Doc.Error, j.Doc.Progress, j.Doc.Streams = nil, nil, nil
	return s.took()
}

// deadlineExceeded fails a job that has not ended within its deadline, however many attempts are left.
func (s *step) deadlineExceeded() Result {
	switch j := s.old; {
	case j == nil:
		return s.refuse(UnknownJob)
	case j.Ended():
		return s.refuse(Ended)
	case s.e.Round != j.Round:
		return s.refuse(WrongRound)
	}
	stop := s.orderHolder(event.Stop)
	j := s.change()
	j.Doc.Error = &job.Error{Code: job.CodeDeadlineExceeded, Message: "the job took longer than its deadline"}
	j.endRun(job.OutcomeFailed, j.Doc.Error, s.at.Time)
	j.end(job.Failed, s.at)
	return s.took(stop...)
}

// expired removes a job whose retention is over. The log's times tell, unless writers have set them: then the
// tracker that has appended the event knows best.
func (s *step) expired() Result {
	switch j := s.old; {
	case j == nil:
		return s.refuse(UnknownJob)
	case !j.Ended():
		return s.refuse(NotEnded)
	case s.e.Round != j.Round:
		return s.refuse(WrongRound)
	case !s.at.ByWriter && !j.ByWriter && s.at.Time.Before(retainedUntil(j)):
		return s.refuse(NotDue)
	}
	return Result{Changed: true}
}
