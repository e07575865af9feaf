package watch

import (
	"context"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// PutState queues the state that a job has when its watch is added. It is sent after all news, and in
// turn with the states of other tenants.
func (w *Watch) PutState(j *trackerpb.Job) {
	s := w.Stream
	s.mu.Lock()
	if !s.closed {
		s.keep(w, j)
		if !w.queued {
			s.states.push(w)
		}
	}
	s.mu.Unlock()
	s.wake.Send()
}

// PutEnded is PutState for a job that has ended. However often the job is added, its state waits once,
// and no shard keeps the watch, for the job will not change.
func (s *Stream) PutEnded(j *trackerpb.Job, tenant string, from Source) {
	s.mu.Lock()
	w := s.ended[j.JobId]
	if w == nil && !s.closed {
		w = &Watch{Stream: s, Tenant: tenant, Source: from, kind: ended}
		s.ended[j.JobId] = w
	}
	s.mu.Unlock()
	if w != nil {
		w.PutState(j)
	}
}

// DropEnded removes what PutEnded has queued for a job.
func (s *Stream) DropEnded(jobID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.ended[jobID]; w != nil {
		delete(s.ended, jobID)
		w.dropped = true
		s.unkeep(w)
	}
}

// Pending tells a Source what to load: the job's ID, and in alone whether no shard keeps the watch, so
// that a job that was opened again needs a new one. wanted is false when the watch was dropped.
func (w *Watch) Pending() (jobID string, alone, wanted bool) {
	w.Stream.mu.Lock()
	defer w.Stream.mu.Unlock()
	if w.dropped || w.pending == nil {
		return "", false, false
	}
	return w.pending.JobId, w.kind == ended, true
}

// load completes a response with the documents that the stream did not keep. It returns nil when the
// response is empty, because all that was pending was dropped.
func (s *Stream) load(ctx context.Context, r *trackerpb.WatchResponse, loads []*Watch) *trackerpb.WatchResponse {
	size := 0
	for i, w := range loads {
		if size >= maxBytes || ctx.Err() != nil {
			s.putBack(loads[i:])
			break
		}
		j, outcome := w.Source.Load(ctx, w)
		s.mu.Lock()
		p := w.pending
		switch {
		case p == nil || w.queued: // it was dropped, or a newer update is queued
			s.mu.Unlock()
			continue
		case j != nil:
			size += len(j.Document)
			if p.SubjectHandle != 0 {
				j = WithHandle(j, p.SubjectHandle)
			}
			r.Updates = append(r.Updates, j)
		case outcome != trackerpb.Watched_OUTCOME_UNSPECIFIED && w.kind != loose:
			// The gateway then looks for the new owner, or learns that the job was removed.
			s.answers = append(s.answers, &trackerpb.Watched{JobId: p.JobId, Tenant: w.Tenant, Outcome: outcome})
			s.wake.Send()
		}
		s.sent(w)
		s.mu.Unlock()
	}
	if len(r.Watched) == 0 && len(r.Updates) == 0 && len(r.Coverage) == 0 && len(r.Lists) == 0 &&
		r.Queues == nil {
		return nil
	}
	return r
}

// putBack queues watches that were not loaded again.
func (s *Stream) putBack(loads []*Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range loads {
		if !w.queued && w.pending != nil && !s.closed {
			s.news.push(w)
		}
	}
	s.wake.Send()
}

// WithHandle returns a copy of the update with the handle of the subject by which a stream watches it.
func WithHandle(j *trackerpb.Job, handle uint32) *trackerpb.Job {
	if handle == 0 {
		return j
	}
	return &trackerpb.Job{
		JobId: j.JobId, Version: j.Version, Document: j.Document, Terminal: j.Terminal, Updated: j.Updated, Trace: j.Trace,
		SubjectHandle: handle, Subject: j.Subject, Tenant: j.Tenant,
	}
}

// queue is a list of watches, oldest first.
type queue struct{ head, tail *Watch }

func (q *queue) push(w *Watch) {
	w.queued, w.next = true, nil
	if q.tail == nil {
		q.head = w
	} else {
		q.tail.next = w
	}
	q.tail = w
}

// pop removes and returns the oldest watch, or nil when there is none.
func (q *queue) pop() *Watch {
	w := q.head
	if w == nil {
		return nil
	}
	q.head = w.next
	if q.head == nil {
		q.tail = nil
	}
	w.queued, w.next = false, nil
	return w
}

// fairQueue is one queue for each tenant; pop takes from them in turn.
type fairQueue struct {
	of    map[string]*queue
	turns []string // tenants whose queue is not empty, in the order of their turns
}

func (f *fairQueue) push(w *Watch) {
	q := f.of[w.Tenant]
	if q == nil {
		if f.of == nil {
			f.of = map[string]*queue{}
		}
		q = &queue{}
		f.of[w.Tenant] = q
		f.turns = append(f.turns, w.Tenant)
	}
	q.push(w)
}

func (f *fairQueue) pop() *Watch {
	if len(f.turns) == 0 {
		f.turns = nil
		return nil
	}
	tenant := f.turns[0]
	q := f.of[tenant]
	w := q.pop()
	f.turns = f.turns[1:]
	if q.head == nil {
		delete(f.of, tenant)
	} else {
		f.turns = append(f.turns, tenant)
	}
	return w
}
