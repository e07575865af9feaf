package ackwiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const (
	lane        = "default"
	worker      = "ackwiretest"
	maxAttempts = 3
)

// record is a job as the server keeps it. Guarded by Server.mu.
type record struct {
	doc     job.Document
	version int64
	raw     []byte // the document at this version
	request frame.SubmitRequest
	budget  int // attempts, also after a retry
	file    *file
	run     *Job // the current attempt, or the last one
	// dispatch counts the attempts that have begun: it is the number of the run whose streams count.
	dispatch int
	streams  map[string]*written // what that run has written, by name
	timers   []*time.Timer
	past     []frame.HistoryEvent
	was      job.State // after the last of them
}

// file is a result that is stored outside the document.
type file struct {
	name, contentType string
	content           []byte
}

func (r *record) stopTimers() {
	for _, t := range r.timers {
		t.Stop()
	}
	r.timers = nil
}

// submitLocked makes a job, or returns the job that its idempotency key made before; the ack has the grant that the
// submit asks for. The job's timers, for its start and its deadline, run from here on; the caller announces the job
// after its ack.
func (s *Server) submitLocked(who identity, q frame.SubmitRequest) (frame.AckFrame, *record, error) {
	ack, r, err := s.makeLocked(who, q)
	if err == nil && q.Grant != nil {
		of := grant.Scope{Jobs: []string{ack.JobID}}
		if who.scope != nil {
			of.Types = who.scope.Types
		}
		ack.Grant = s.grantLocked(who, *q.Grant, of)
	}
	return ack, r, err
}

// makeLocked is submitLocked without the grant, which it only checks.
func (s *Server) makeLocked(who identity, q frame.SubmitRequest) (frame.AckFrame, *record, error) {
	refuse := func(c code.Code, detail string, args ...any) (frame.AckFrame, *record, error) {
		return frame.AckFrame{}, nil, frame.NewProblem(c, fmt.Sprintf(detail, args...))
	}
	switch {
	case q.Job == "":
		return refuse(code.InvalidFrame, "job is missing")
	case len(q.Payload) == 0:
		return refuse(code.InvalidFrame, "payload is missing")
	case len([]rune(q.Key)) > frame.MaxKeyChars:
		return refuse(code.InvalidFrame, "key is longer than %d characters", frame.MaxKeyChars)
	case s.faults.types != nil && !slices.Contains(s.faults.types, q.Job), s.types != nil && s.types[q.Job] == nil:
		return refuse(code.UnknownJobType, "%.64q is not a job type here", q.Job)
	}
	if err := q.Tags.Validate(); err != nil {
		return refuse(code.InvalidFrame, "tags: %s", err)
	}
	if err := who.checkSubmit(q.Job); err != nil {
		return frame.AckFrame{}, nil, err
	}
	if _, err := readStreams(q.Streams); err != nil {
		return frame.AckFrame{}, nil, err
	}
	budget := maxAttempts
	if t := s.types[q.Job]; t != nil {
		if err := t.Validate(q.Payload); err != nil {
			return frame.AckFrame{}, nil, err
		}
		budget = t.Policy.Attempts
	}
	if q.Grant != nil {
		if _, err := who.grantScope(*q.Grant, grant.Scope{Types: []string{q.Job}}); err != nil {
			return frame.AckFrame{}, nil, err
		}
	}
	return s.createLocked(q, budget)
}

// createLocked is makeLocked for a submit that is in order.
func (s *Server) createLocked(q frame.SubmitRequest, budget int) (frame.AckFrame, *record, error) {
	refuse := func(c code.Code, detail string) (frame.AckFrame, *record, error) {
		return frame.AckFrame{}, nil, frame.NewProblem(c, detail)
	}
	key := q.Job + "\x00" + q.Key
	if old := s.keys[key]; q.Key != "" && old != nil {
		if s.records[old.doc.JobID] != old {
			return refuse(code.NotFound, "the job of this key was erased")
		}
		if !samePayload(old.request.Payload, q.Payload) {
			return refuse(code.IdempotencyKeyReused, "the key was used with another payload")
		}
		a := old.ack()
		a.Duplicate = true
		return a, old, nil
	}
	now := time.Now()
	r := &record{request: q, budget: budget, doc: job.Document{
		JobID: fmt.Sprintf("00000000-0000-7000-8000-%012x", len(s.order)+1), Type: q.Job, State: job.Pending,
		Attempt: 1, MaxAttempts: budget, CreatedAt: stamp(now),
		Lane: lane, Tags: q.Tags,
	}}
	if q.RunAt != nil {
		at := q.RunAt.UTC()
		r.doc.RunAt = &at
		r.doc.State = job.Scheduled
		s.afterLocked(r, at.Sub(now), func() {
			if r.doc.State == job.Scheduled {
				r.doc.State = job.Pending
				s.changedLocked(r)
			}
		})
	}
	if q.Deadline != nil {
		s.afterLocked(r, seconds(*q.Deadline), func() {
			if !r.doc.State.Terminal() {
				r.doc.Error = &job.Error{Code: job.CodeDeadlineExceeded, Message: "the job took longer than its deadline"}
				r.endRun(job.OutcomeFailed, r.doc.Error)
				r.end(job.Failed)
				s.changedLocked(r)
			}
		})
	}
	a := r.ack()
	if r.doc.State == job.Pending {
		s.queueLocked(&a, q.Job)
	}
	s.records[r.doc.JobID] = r
	s.order = append(s.order, r)
	if q.Key != "" {
		s.keys[key] = r
	}
	s.versionLocked(r)
	return a, r, nil
}

// queueLocked says in an ack what waits before its job. Here each job type has a lane of its own, and only a job that
// nothing is ahead of, and that has a handler, has an estimate: 0.
func (s *Server) queueLocked(a *frame.AckFrame, jobType string) {
	var ahead int64
	for _, r := range s.order {
		if r.doc.Type == jobType && r.doc.State == job.Pending {
			ahead++
		}
	}
	a.Ahead = &ahead
	if ahead == 0 && s.handlers[jobType] != nil {
		a.Estimate = new(float64)
	}
}

func (r *record) ack() frame.AckFrame {
	return frame.AckFrame{JobID: r.doc.JobID, State: string(r.doc.State), StatusURL: "/v1/jobs/" + r.doc.JobID}
}

// samePayload compares JSON values.
func samePayload(a, b []byte) bool {
	return bytes.Equal(canonical(a), canonical(b))
}

func canonical(raw []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return raw
	}
	b, _ := plainjson.Marshal(v) // it was JSON
	return b
}

// afterLocked calls f after wait, with mu held, unless the job has expired or the server was closed by then.
func (s *Server) afterLocked(r *record, wait time.Duration, f func()) {
	r.timers = append(r.timers, time.AfterFunc(wait, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ctx.Err() == nil && s.records[r.doc.JobID] == r {
			f()
		}
	}))
}

// versionLocked encodes the document anew, under a new version, after a change.
func (s *Server) versionLocked(r *record) {
	s.version++
	r.version, r.doc.UpdatedAt = s.version, stamp(time.Now())
	r.raw, _ = plainjson.Marshal(r.doc) // what is in it was JSON
	s.noteLocked(r)
	close(s.changed)
	s.changed = make(chan struct{})
}

// announceLocked sends a job's document to the sockets that watch it, and starts its handler if the job is pending. For
// a new job it is called after the ack was queued.
func (s *Server) announceLocked(r *record) {
	for k := range s.sockets {
		k.tellLocked(r)
		k.feedLocked(r)
		k.listedLocked(r, false)
	}
	s.handOutLocked(r)
}

// changedLocked records a change of a job and announces it. A job that waits for its next attempt becomes pending when
// that is due.
func (s *Server) changedLocked(r *record) {
	s.versionLocked(r)
	if r.doc.State == job.Retrying {
		s.afterLocked(r, time.Until(*r.doc.RetryAt), func() {
			if r.doc.State == job.Retrying {
				r.doc.State = job.Pending
				s.changedLocked(r)
			}
		})
	}
	s.announceLocked(r)
}

// handOutLocked begins an attempt if the job is pending and its type has a handler.
func (s *Server) handOutLocked(r *record) {
	fn := s.handlers[r.doc.Type]
	if fn == nil || r.doc.State != job.Pending || s.ctx.Err() != nil {
		return
	}
	j := s.beginLocked(r)
	s.wg.Go(func() { j.work(fn) })
}

// beginLocked begins an attempt: it changes the document, adds to the history, and starts the attempt's timeout.
func (s *Server) beginLocked(r *record) *Job {
	now := stamp(time.Now())
	r.dispatch++
	r.streams, r.doc.Streams = map[string]*written{}, nil
	r.doc.State, r.doc.StartedAt = job.Processing, &now
	r.doc.RetryAt, r.doc.Progress, r.doc.Error = nil, nil, nil
	runs := slices.Clone(r.doc.Attempts)
	r.doc.Attempts = append(runs, job.Attempt{Number: r.doc.Attempt, Worker: worker, StartedAt: now})
	j := &Job{
		ID: r.doc.JobID, Type: r.doc.Type, Payload: r.request.Payload, Attempt: r.doc.Attempt, Submitted: r.request,
		s: s, r: r, done: make(chan struct{}),
	}
	r.run = j
	if r.request.Timeout != nil {
		s.afterLocked(r, seconds(*r.request.Timeout), func() {
			if r.run == j && r.doc.State == job.Processing {
				took := "the attempt took longer than its timeout"
				r.failAs(job.OutcomeTimedOut, &Failure{Code: job.CodeTimeout, Message: took, Retryable: true})
				s.changedLocked(r)
			}
		})
	}
	s.changedLocked(r)
	return j
}

// complete ends the job with a result.
func (r *record) complete(result json.RawMessage, f *file) {
	r.endRun(job.OutcomeCompleted, nil)
	r.end(job.Completed)
	r.doc.Result, r.doc.Error, r.file = result, nil, f
	if f != nil {
		r.doc.ResultURL = "/v1/jobs/" + r.doc.JobID + "/result"
	}
}

// fail ends the attempt, and the job too if the failure is permanent or no attempts are left.
func (r *record) fail(f *Failure) { r.failAs(job.OutcomeFailed, f) }

func (r *record) failAs(o job.Outcome, f *Failure) {
	r.doc.Error = &job.Error{Code: f.Code, Message: f.Message, Retryable: f.Retryable}
	if r.doc.CancelRequested && o == job.OutcomeFailed {
		o = job.OutcomeCancelled
	}
	r.endRun(o, r.doc.Error)
	switch {
	case r.doc.CancelRequested:
		r.end(job.Cancelled)
	case !f.Retryable || r.doc.Attempt >= r.doc.MaxAttempts:
		r.end(job.Failed)
	default:
		r.again()
		r.doc.Attempt++
	}
}

// again makes the job wait for its next attempt, which is due at once.
func (r *record) again() {
	now := stamp(time.Now())
	r.doc.State, r.doc.RetryAt = job.Retrying, &now
}

// cancel cancels a job that is not running. A running attempt is told to stop, and ends the job.
func (r *record) cancel() {
	if r.doc.State != job.Processing {
		r.end(job.Cancelled)
		return
	}
	if !r.doc.CancelRequested {
		r.doc.CancelRequested = true
		close(r.run.done)
	}
}

// retry opens an ended job again.
func (r *record) retry() {
	r.again()
	r.doc.Attempt++
	r.doc.MaxAttempts = r.doc.Attempt + r.budget - 1
	r.doc.CancelRequested, r.doc.FinishedAt, r.doc.StartedAt = false, nil, nil
	r.doc.Result, r.doc.ResultURL, r.file = nil, "", nil
	r.doc.Error, r.doc.Progress = nil, nil
}

func (r *record) end(state job.State) {
	now := stamp(time.Now())
	r.doc.State, r.doc.FinishedAt, r.doc.RetryAt = state, &now, nil
	r.stopTimers()
}

// endRun records in the history how the current attempt ended, if one runs.
func (r *record) endRun(o job.Outcome, err *job.Error) {
	if r.doc.State != job.Processing {
		return
	}
	if !r.doc.CancelRequested {
		close(r.run.done)
	}
	now := stamp(time.Now())
	r.doc.Streams = r.totals()
	runs := slices.Clone(r.doc.Attempts)
	last := &runs[len(runs)-1]
	last.EndedAt, last.Outcome, last.Error = &now, o, err
	r.doc.Attempts = runs
}

// orderLocked carries out a cancel or a retry.
func (s *Server) orderLocked(who identity, kind frame.Type, jobID string) (frame.AckFrame, *record, error) {
	r := s.findLocked(who, jobID)
	if r == nil {
		return frame.AckFrame{}, nil, frame.NewProblem(code.NotFound, "")
	}
	refuse := func(detail string) (frame.AckFrame, *record, error) {
		return frame.AckFrame{}, nil, frame.NewProblem(code.InvalidState, fmt.Sprintf(detail, r.doc.State))
	}
	switch {
	case kind == frame.Cancel && r.doc.State.Terminal():
		return refuse("the job is %s already")
	case kind == frame.Retry && !r.doc.State.Terminal():
		return refuse("the job is %s: it has not ended")
	case kind == frame.Cancel:
		r.cancel()
	default:
		r.retry()
	}
	return r.ack(), r, nil
}

// findLocked returns the job with an ID; nil if there is none that who may use.
func (s *Server) findLocked(who identity, jobID string) *record {
	if id, ok := job.ParseID(jobID); ok {
		jobID = id
	}
	r := s.records[jobID]
	if r != nil && !who.sees(r) {
		return nil
	}
	return r
}

// Expire removes a job, as a real server does when its retention is over: it is not found any more, and its key
// makes a new job. It reports whether there was such a job.
func (s *Server) Expire(jobID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.findLocked(anonymous, jobID)
	if r == nil {
		return false
	}
	r.stopTimers()
	s.removeLocked(r)
	delete(s.keys, r.doc.Type+"\x00"+r.request.Key)
	r.doc.State = job.Cancelled // so that an attempt that still runs changes nothing any more
	return true
}

// stamp returns t as documents have it: in UTC, with milliseconds.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }
