package session

import (
	"context"
	"errors"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// A status for which the outbox has no room is parked: it is owed to the client, and loaded again once there is room.
const (
	loadBatch = 4                      // parked statuses for which room is reserved at a time
	loadAgain = 200 * time.Millisecond // wait before the next try
)

// ErrNoJob is returned by a Loader if the job does not exist any more.
var ErrNoJob = errors.New("no such job")

// States of a session's loading.
const (
	loadIdle = iota
	loadRunning
	loadMore // there may be more to load than was seen
)

// loadOwed starts the goroutine that loads parked statuses, unless it runs. There is at most one per session.
func (s *Session) loadOwed() {
	if !s.out.Owing() || s.loading.Swap(loadMore) != loadIdle {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.flushes.Add(1)
	go func() {
		defer s.flushes.Done()
		for more := true; more; more = !s.loading.CompareAndSwap(loadRunning, loadIdle) {
			s.loading.Store(loadRunning)
			s.loadDue()
		}
	}()
}

func (s *Session) loadDue() {
	for s.ctx.Err() == nil {
		due, later := s.out.Due(loadBatch)
		if later {
			// Other sessions use all the room: nothing here will say when there is some, so try again later.
			s.mu.Lock()
			if !s.over {
				time.AfterFunc(loadAgain, s.loadOwed)
			}
			s.mu.Unlock()
		}
		if len(due) == 0 {
			return
		}
		for _, owed := range due {
			switch w := owed.Owner.(type) {
			case *watch:
				s.loadWatch(w, owed)
			case *subjectWatch:
				s.loadSubject(w, owed)
			}
		}
	}
}

// load returns a job's current document. After an error the status is parked again, or dropped if the job is gone.
func (s *Session) load(scope *auth.Scope, jobID string, owed outbox.Owed) (*trackerpb.Job, error) {
	j, err := s.cfg.Load(s.ctx, scope, jobID)
	switch {
	case err == nil:
	case errors.Is(err, ErrNoJob):
		s.out.Unowed(owed)
	default:
		s.out.Again(owed)
		pause.For(s.ctx, loadAgain)
	}
	return j, err
}

func (s *Session) loadWatch(w *watch, owed outbox.Owed) {
	s.mu.Lock()
	now := s.identity
	s.mu.Unlock()
	j, err := s.load(s.reads(now), w.JobID, owed)
	if err != nil {
		if errors.Is(err, ErrNoJob) {
			w.Over()
			w.tellEnded(code.NotFound)
		}
		return
	}
	s.registering.Lock()
	defer s.registering.Unlock()
	s.mu.Lock()
	wanted, left := s.watches[w.JobID] == w, w.left
	f := outbox.NewFrame(wire.EncodeStatus(j.Version, j.Document), j)
	if wanted {
		f = s.markedLocked(w, f)
	}
	s.mu.Unlock()
	if !wanted {
		s.out.Unowed(owed)
		return
	}
	outcome := s.out.PutOwed(owed, f)
	s.act(outcome)
	switch {
	case outcome == outbox.Parked:
	case j.Terminal:
		w.Over()
		s.cfg.Hub.Unsubscribe(&w.Subscription)
	case left: // the job was retried meanwhile: subscribe anew
		s.mu.Lock()
		w.left = false
		s.mu.Unlock()
		w.After, w.Patient = j.Version, true
		s.cfg.Hub.Subscribe(&w.Subscription)
	}
}

func (s *Session) loadSubject(w *subjectWatch, owed outbox.Owed) {
	j, err := s.load(auth.SubjectScope(w.Tenant, w.Subject), owed.Key, owed)
	if err != nil {
		return
	}
	s.mu.Lock()
	o := outbox.Queued
	switch {
	case s.subject != w:
		s.out.Unowed(owed)
	case j.Subject != w.Subject:
		s.out.Unowed(owed)
		s.told.Forget(owed.Key) // it was not sent
	case j.Version > owed.Version && j.Version <= s.told.Last(owed.Key): // it was sent meanwhile
		s.out.Unowed(owed)
	default:
		o = s.out.PutOwed(owed, outbox.NewFrame(wire.EncodeMineStatus(j.Version, j.Document), j))
		if o != outbox.Old && o != outbox.Closed {
			s.told.News(owed.Key, j.Version)
		}
	}
	s.mu.Unlock()
	s.act(o)
}

// parks handles the outbox's outcome of a status. After a terminal status it ends the watch, unless that status was
// parked.
func (w *watch) parks(o outbox.Outcome, terminal bool) {
	s := w.session
	s.act(o)
	switch {
	case !terminal:
	case o != outbox.Parked:
		w.Over()
	default:
		s.mu.Lock()
		w.left = true
		s.mu.Unlock()
	}
}

// Withheld implements hub.Subscriber.
func (w *watch) Withheld(version int64, size int) {
	w.parks(w.session.out.Park(&w.slot, version, size), true)
}

// Loader loads a job, if it is in the scope.
type Loader func(ctx context.Context, scope *auth.Scope, jobID string) (*trackerpb.Job, error)

// join makes the budget of id's user pay for the outbox. s.mu is held, or the session is new.
func (s *Session) join(id auth.Identity) {
	had := s.account
	s.account = s.cfg.Budget.Open(id.Tenant, id.Account())
	s.out.Join(s.account)
	had.Close()
}

// leaveBudget returns the outbox's bytes to the budget, once nothing is written any more.
func (s *Session) leaveBudget() {
	s.out.Abandon()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account.Close()
	s.account = nil
}
