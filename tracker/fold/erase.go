package fold

import "github.com/ackwire/ackwire/schemas/job"

// Erased is the state of the marker that stands for a job that was erased. No document that a client can see has it.
//
// The marker has nothing of what was submitted or of its result, and not whose the job was. It only keeps the ID from
// being used again: a late accepted, a claim of a request that Kafka delivers again, or a submit with the job's
// idempotency key must not bring the job back. It expires when the job would have.
const Erased job.State = "erased"

// Erased reports whether j stands for a job that was erased. It is false for nil.
func (j *Job) Erased() bool { return j != nil && j.Doc.State == Erased }

// erased leaves of an ended job only the marker.
func (s *step) erased() Result {
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
	j := s.old
	s.next = &Job{
		Doc: job.Document{
			JobID: j.Doc.JobID, State: Erased, CreatedAt: s.at.Time, FinishedAt: j.Doc.FinishedAt,
		},
		Life: j.Life, Policy: j.Policy, Dispatch: j.Dispatch, Round: j.Round, RoundAt: j.RoundAt, Skew: j.Skew,
	}
	r := s.took()
	// The marker expires by the time at which the job ended, which its writer may have set.
	s.next.ByWriter = s.next.ByWriter || j.ByWriter
	return r
}
