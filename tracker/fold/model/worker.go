package model

import (
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Workers: RULES.md, Worker.

func (w *walker) workerSteps() {
	for i := range w.from.workers {
		if w.from.owner == i {
			w.fetch(i)
		} else {
			w.step(w.from.owner != nobody, func(s *state) {
				s.owner = i
				for other := range s.workers {
					s.workers[other] = worker{}
				}
				s.workers[i] = worker{next: s.commit, backlog: len(s.requests)}
			}, "worker %d is assigned the partition", i)
		}
		if slices.ContainsFunc(w.from.runs, func(r run) bool { return r.worker == i }) {
			w.step(true, func(s *state) {
				s.runs = slices.DeleteFunc(s.runs, func(r run) bool { return r.worker == i })
				s.workers[i] = worker{}
				if s.owner == i {
					s.owner = nobody
				}
			}, "worker %d crashes", i)
		}
	}
	for at, r := range w.from.runs {
		w.runSteps(at, r)
	}
}

func (w *walker) fetch(i int) {
	at := w.from.workers[i].next
	if at >= len(w.from.requests) {
		return
	}
	req := w.from.requests[at]
	w.step(false, func(s *state) {
		r := run{id: s.freshRun(), worker: i, dispatch: req.dispatch, offset: at, payload: req.payload, stance: claiming}
		r.again = at < max(s.workers[i].backlog, s.workers[i].fetched)
		r.ask = w.c.Without != AskAgain && (at < s.workers[i].backlog || req.dispatch > 1)
		s.runs = append(s.runs, r)
		s.workers[i].fetched = max(s.workers[i].fetched, at+1)
		s.messages = append(s.messages, message{e: w.c.claim(s, r), submit: nobody})
		s.workers[i].next++
	}, "worker %d fetches request %d", i, at)
}

func (c *Config) claim(s *state, r run) *event.Event {
	e := c.runEvent(event.Claimed, r)
	e.Job = "t"
	e.Tenant = "a"
	e.PayloadHash = r.payload
	e.Policy = c.policy
	e.Request = &event.Position{Topic: requestsTopic, Offset: int64(r.offset)}
	read := s.requests[r.offset]
	requestedAt := epoch.Add(time.Duration(read.era) * era)
	e.Life, e.RequestedAt = read.name, &requestedAt
	e.NoGrant = !r.ask
	return e
}

func (c *Config) runEvent(t event.Type, r run) *event.Event {
	return &event.Event{V: event.Version, Type: t, JobID: "j", Dispatch: r.dispatch, Run: r.id, Worker: "w"}
}

// claimIsDurable: the worker learns that the claim is durable, commits the request's offset if it can, and
// the run starts or waits for granted.
func (s *state) claimIsDurable(id string) {
	at := slices.IndexFunc(s.runs, func(r run) bool { return r.id == id })
	if at < 0 || s.runs[at].stance != claiming {
		return
	}
	r := &s.runs[at]
	r.stance = running
	if r.ask {
		r.stance = waiting
	} else if r.again {
		for i, w := range s.won {
			if s.wonFor[i] == r.dispatch && w.run != id && s.now.job != nil && s.now.job.Request != nil &&
				s.now.job.Request.Offset == int64(r.offset) {
				s.broken = "a handler began for a request that came again and that another run had taken"
			}
		}
	}
	s.handled(r.worker, r.offset)
}

// handled marks the request at offset as handled and commits up to the first one that is not.
func (s *state) handled(i, offset int) {
	if s.owner != i || offset < s.commit {
		return
	}
	marked := append(slices.Clone(s.workers[i].marked), offset)
	slices.Sort(marked)
	for len(marked) > 0 && marked[0] <= s.commit {
		s.commit = max(s.commit, marked[0]+1)
		marked = marked[1:]
	}
	s.workers[i].marked = marked
}

// speaks reports whether an event of the run, or an order to it, is still on its way. A run waits for it
// before it repeats itself, or there would be endlessly many courses.
func (s *state) speaks(id string) bool {
	return s.holder != nobody && s.unfolded(s.holder, func(e *event.Event) bool { return e.Run == id }) ||
		slices.ContainsFunc(s.orders, func(o order) bool { return o.run == id })
}

func (w *walker) runSteps(at int, r run) {
	say := func(s *state, e *event.Event) { s.append(w.c, message{e: e, submit: nobody}) }
	end := func(s *state) { s.runs = slices.Delete(s.runs, at, at+1) }
	switch r.stance {
	case claiming:
		claim := func(m message) bool { return m.e != nil && m.e.Type == event.Claimed && m.e.Run == r.id }
		if !slices.ContainsFunc(w.from.messages, claim) {
			w.step(false, func(s *state) { s.claimIsDurable(r.id) }, "run %s learns that its claim is durable", r.id)
		}
		w.step(true, func(s *state) {
			if w.c.Without == SameClaim {
				end(s)
				s.workers[r.worker].next = min(s.workers[r.worker].next, r.offset)
				return
			}
			s.runs[at].ask = true
			s.messages = append(s.messages, message{e: w.c.claim(s, s.runs[at]), submit: nobody})
		}, "run %s is in doubt about its claim", r.id)
	case waiting:
		if w.c.Without == ClaimBeat {
			w.says(at, r, w.c.runEvent(event.Beat, r))
		} else {
			w.says(at, r, w.c.claim(w.from, r))
		}
	case running:
		if !r.beaten {
			w.says(at, r, w.c.runEvent(event.Beat, r))
		}
		for _, t := range []event.Type{event.Completed, event.Failed} {
			e := w.c.runEvent(t, r)
			if t == event.Failed {
				e.Error = &event.Failure{Error: job.Error{Code: "c", Retryable: true}}
			} else {
				e.PayloadHash = r.payload // for the model's check: workers do not send it
			}
			w.step(false, func(s *state) { say(s, e); end(s) }, "run %s says %s", r.id, t)
			w.step(true, func(s *state) { say(s, e) }, "run %s says %s and does not know", r.id, t)
		}
	}
	if r.stance != claiming && w.from.left.releases > 0 {
		w.step(false, func(s *state) {
			s.left.releases--
			say(s, w.c.runEvent(event.Released, r))
			end(s)
		}, "run %s is released", r.id)
	}
	w.obeys(at, r)
}

// says adds the step that the run appends e, which renews its lease; only once between two answers.
func (w *walker) says(at int, r run, e *event.Event) {
	if len(w.from.log) < w.c.MaxLog && !w.from.speaks(r.id) {
		w.step(false, func(s *state) {
			s.runs[at].beaten = true
			s.append(w.c, message{e: e, submit: nobody})
		}, "run %s says %s", r.id, e.Type)
	}
}

func (w *walker) obeys(at int, r run) {
	for i, o := range w.from.orders {
		if o.run != r.id {
			continue
		}
		w.step(false, func(s *state) {
			s.orders = slices.Delete(s.orders, i, i+1)
			switch {
			case o.kind == event.Stop:
				if r.stance == claiming {
					s.handled(r.worker, r.offset)
				}
				s.runs = slices.Delete(s.runs, at, at+1)
			case o.kind == event.Granted && r.stance == waiting:
				s.runs[at].stance = running
			case o.kind == event.Quit && r.stance != claiming:
				e := w.c.runEvent(event.Failed, r)
				e.Error = &event.Failure{Error: job.Error{Code: "cancelled"}}
				s.append(w.c, message{e: e, submit: nobody})
				s.runs = slices.Delete(s.runs, at, at+1)
			}
		}, "run %s is told %s", r.id, o.kind)
		w.step(true, func(s *state) { s.orders = slices.Delete(s.orders, i, i+1) }, "%s for run %s is lost", o.kind, r.id)
	}
}
