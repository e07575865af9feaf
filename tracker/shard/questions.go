package shard

import (
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	maxParked = 100_000 // questions that wait for the log, and as many for its end
	maxPolls  = 100_000 // questions that wait for their job to change
)

// ask is a question about one job on its way to an answer. Exactly one of found, missing
// and fail is called, on the shard's goroutine; none blocks.
type ask struct {
	ctx   context.Context
	id    string
	scope Scope
	// min is the position below which the question waits; below it nothing is known.
	min int64
	// fresh is set once min covers all that the log held after the question arrived: only
	// then may "no such job" be said, or "it has ended" to those who wait for the end.
	fresh bool

	found   func(*entry)
	missing func()
	fail    func(error)
	// reached is called in place of found and missing by a question that is not about one
	// job, once the log is folded up to min.
	reached func()
}

// questions are those that cannot be answered at once: they wait for the log, for its end, for their job to change or
// for a key that another submit holds. Owned by the shard's goroutine.
type questions struct {
	jobs     *memory
	pos      *position
	catching *catchUp
	metrics  *Metrics
	aside    aside
	logEnd   func(context.Context) (int64, error) // asks Kafka for the log's end

	parked    []*ask // wait until the log is folded up to ask.min
	endWanted []*ask // wait to be told the log's end
	endAsked  []*ask // wait for the answer that is under way
	endAsking bool
	polled    map[*entry]struct{} // have long polls
	polls     int                 // questions in polled
	keys      reservations
	closed    bool // the shard has ended: nobody is answered any more
}

func newQuestions(
	jobs *memory, pos *position, catching *catchUp, m *Metrics, aside aside, logEnd func(context.Context) (int64, error),
) questions {
	return questions{
		jobs: jobs, pos: pos, catching: catching, metrics: m, aside: aside, logEnd: logEnd,
		polled: map[*entry]struct{}{}, keys: reservations{held: map[string]*reservation{}},
	}
}

// resolve answers the question or parks it.
func (q *questions) resolve(a *ask) {
	switch {
	case q.closed:
		a.fail(ErrNotOwner)
		return
	case a.ctx.Err() != nil:
		a.fail(a.ctx.Err())
		return
	case !q.catching.ready.Load():
		a.fail(ErrNotReady)
		return
	case q.pos.next < a.min:
		q.park(a)
		return
	case a.reached != nil:
		a.reached()
		return
	}
	e, err := q.jobs.find(a.id, a.scope)
	switch {
	case err != nil:
		a.fail(err)
	case e != nil:
		a.found(e)
	case a.fresh:
		a.missing()
	default:
		q.wantEnd(a)
	}
}

// wantEnd resolves the question again once all that the log holds now is folded.
func (q *questions) wantEnd(a *ask) {
	if len(q.endWanted) >= maxParked {
		a.fail(q.metrics.overload(boundParked))
		return
	}
	q.endWanted = append(q.endWanted, a)
	q.askEnd()
}

func (q *questions) park(a *ask) {
	if len(q.parked) >= maxParked {
		a.fail(q.metrics.overload(boundParked))
		return
	}
	q.parked = append(q.parked, a)
}

// poll lets the question wait for its job to change.
func (q *questions) poll(e *entry, a *ask) {
	if q.polls >= maxPolls {
		a.fail(q.metrics.overload(boundPolls))
		return
	}
	q.jobs.keep(e)
	q.polls++
	q.polled[e] = struct{}{}
	e.waits = append(e.waits, a)
}

// unpark looks again at the questions that waited for the log.
func (q *questions) unpark() {
	if len(q.parked) == 0 {
		return
	}
	waiting := q.parked
	q.parked = nil
	for i, a := range waiting {
		if q.pos.next < a.min && a.ctx.Err() == nil {
			q.parked = append(q.parked, waiting[i])
			continue
		}
		q.resolve(a)
	}
}

// changed looks again at the long polls of a job.
func (q *questions) changed(e *entry) {
	if len(e.waits) == 0 {
		return
	}
	waits := e.waits
	e.waits = nil
	q.polls -= len(waits)
	delete(q.polled, e)
	for _, a := range waits {
		q.resolve(a)
	}
}

// askEnd learns where the log ends now. One request serves all questions that arrived
// before it was sent; those that arrive later wait for the next.
func (q *questions) askEnd() {
	if q.endAsking || len(q.endWanted) == 0 || q.closed {
		return
	}
	q.endAsking = true
	q.endAsked, q.endWanted = q.endWanted, nil
	var end int64
	q.aside(func(ctx context.Context) (err error) {
		end, err = q.logEnd(ctx)
		return err
	}, func(err error) { // has the shard ended, close answers them
		asks := q.endAsked
		q.endAsking, q.endAsked = false, nil
		for _, a := range asks {
			if err != nil {
				a.fail(fmt.Errorf("%w: %w", ErrLogAway, err))
				continue
			}
			a.min, a.fresh = max(a.min, end), true
			q.resolve(a)
		}
		q.askEnd()
	})
}

// sweep drops questions whose asker has gone, and hands on keys that were held for too long.
func (q *questions) sweep(now time.Time) {
	gone := func(a *ask) bool {
		if a.ctx.Err() == nil {
			return false
		}
		a.fail(a.ctx.Err())
		return true
	}
	q.parked = slices.DeleteFunc(q.parked, gone)
	for e := range q.polled {
		had := len(e.waits)
		e.waits = slices.DeleteFunc(e.waits, gone)
		q.polls -= had - len(e.waits)
		if len(e.waits) == 0 {
			delete(q.polled, e)
			q.jobs.release(e)
		}
	}
	for _, id := range q.keys.overdue(now) {
		q.freed(id)
	}
}

// freed ends the reservation of a key, and asks again for those who waited for it.
func (q *questions) freed(id string) {
	for _, a := range q.keys.free(id) {
		q.resolve(a)
	}
}

// known ends the reservation of a job that is known by now.
func (q *questions) known(e *entry) {
	if q.keys.held[e.id] != nil && e.folded() != nil {
		q.freed(e.id)
	}
}

// close has whoever asks from now on told that this tracker does not own the partition; see answerAll.
func (q *questions) close() { q.closed = true }

// answerAll fails all that wait. It is called when no answer is under way any more.
func (q *questions) answerAll(err error) {
	waiting := slices.Concat(q.parked, q.endWanted, q.endAsked)
	for e := range q.polled {
		waiting = append(waiting, e.waits...)
	}
	for _, r := range q.keys.held {
		waiting = append(waiting, r.waits...)
	}
	for _, a := range waiting {
		a.fail(err)
	}
}
