package model

import (
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
)

// step is one thing that may happen next.
type step struct {
	what  string
	fault bool // a fault, which need not happen
	to    *state
}

// walker collects the steps from one state.
type walker struct {
	c    *Config
	from *state
	all  []step
}

// step adds a step that do makes on a copy of the state.
func (w *walker) step(fault bool, do func(s *state), what string, args ...any) {
	if fault && w.from.left.faults == 0 {
		return
	}
	s := w.from.clone()
	if fault {
		s.left.faults--
	}
	do(s)
	s.forget()
	w.all = append(w.all, step{fmt.Sprintf(what, args...), fault, s})
}

// steps returns all steps from s.
func (c *Config) steps(s *state) []step {
	w := &walker{c: c, from: s}
	w.submits()
	w.network()
	w.workerSteps()
	w.trackerSteps()
	w.clients()
	if !s.due && slices.Contains(c.Scheduled, true) {
		w.step(false, func(s *state) { s.due = true }, "the start time comes")
	}
	return w.all
}

// The gateways: RULES.md, Submit.

func (c *Config) accepted(i int, at event.Position) message {
	e := &event.Event{V: event.Version, Type: event.Accepted, JobID: "j", Life: c.lifeOf(i), Job: "t", Tenant: "a",
		PayloadHash: c.Payloads[i], Policy: c.policy, Request: &at}
	if c.scheduled(i) {
		start := epoch
		e.RunAt = &start
	}
	return message{e: e, submit: i}
}

// lifeOf is the name that a gateway gives to the life that its submit may make.
func (c *Config) lifeOf(submit int) string {
	if c.NoLives {
		return ""
	}
	return fmt.Sprint("of-", submit)
}

func (c *Config) scheduled(i int) bool { return i < len(c.Scheduled) && c.Scheduled[i] }

func (w *walker) submits() {
	for i := range w.from.submits {
		switch b := w.from.submits[i]; {
		case b.phase == idle && (i == 0 || w.from.submits[i-1].phase != idle):
			w.submit(i)
		case b.phase == requestSent || b.phase == acceptedSent:
			// A record that has landed and is on its way again is not acknowledged yet.
			if b.landed && !slices.ContainsFunc(w.from.messages, func(m message) bool { return m.submit == i }) {
				w.submitGoesOn(i)
			}
			w.step(true, func(s *state) { s.submits[i].phase = indeterminate }, "submit %d gives up", i)
		}
	}
}

// submit begins a submit, or answers it when the shard knows the key.
func (w *walker) submit(i int) {
	c := w.c
	if h := w.from.holder; h != nobody && w.from.trackers[h].up && w.from.trackers[h].known.job != nil {
		answer := conflicted
		if w.from.trackers[h].known.job.PayloadHash == c.Payloads[i] {
			answer = acked
		}
		w.step(false, func(s *state) { s.submits[i].phase = answer }, "submit %d is known to the shard", i)
		return
	}
	w.step(false, func(s *state) {
		s.submits[i].phase = requestSent
		s.messages = append(s.messages, message{
			request: &request{dispatch: 1, payload: c.Payloads[i], name: c.lifeOf(i), era: s.era}, submit: i,
		})
		if c.Without == RequestFirst {
			// Both at once: accepted must guess the offset of its request.
			s.messages = append(s.messages, c.accepted(i, event.Position{Topic: requestsTopic, Offset: int64(len(s.requests))}))
			s.submits[i].phase = acceptedSent
		}
	}, "submit %d begins", i)
}

func (w *walker) submitGoesOn(i int) {
	b := w.from.submits[i]
	if b.phase == requestSent {
		w.step(false, func(s *state) {
			s.submits[i].phase, s.submits[i].landed = acceptedSent, false
			s.messages = append(s.messages, w.c.accepted(i, b.request))
		}, "submit %d knows its request durable", i)
		return
	}
	answer := acked
	if w.c.Without != Verdict && b.verdict == fold.Conflict {
		answer = conflicted
	}
	w.step(false, func(s *state) {
		s.submits[i].phase = answer
		if answer == acked && s.now.job != nil && !s.now.job.Erased() && s.now.job.PayloadHash != w.c.Payloads[i] {
			s.broken = "a submit was acked for a job with another payload"
		}
	}, "submit %d is answered", i)
}

// The network: a message lands, lands and will land again, or is lost.

func (w *walker) network() {
	for i, m := range w.from.messages {
		w.step(false, func(s *state) {
			s.messages = slices.Delete(s.messages, i, i+1)
			w.land(s, m)
		}, "%s lands", m)
		w.step(true, func(s *state) { w.land(s, m) }, "%s lands, and is on its way again", m)
		orphan := m.submit != nobody && w.from.submits[m.submit].phase == indeterminate ||
			m.e != nil && m.e.Type == event.Claimed && !w.from.live(m.e.Run)
		if orphan || m.order != 0 {
			w.step(!orphan, func(s *state) { s.messages = slices.Delete(s.messages, i, i+1) }, "%s is lost", m)
		}
	}
}

func (w *walker) land(s *state, m message) {
	if m.request != nil {
		to, name := &s.requests, requestsTopic
		if w.c.scheduled(m.submit) {
			to, name = &s.deferred, deferredTopic
		}
		if b := &s.submits[m.submit]; b.phase == requestSent {
			b.request, b.landed = event.Position{Topic: name, Offset: int64(len(*to))}, true
		}
		*to = append(*to, *m.request)
		return
	}
	verdict := s.append(w.c, m)
	if m.submit != nobody {
		s.submits[m.submit].verdict = verdict
		s.submits[m.submit].landed = true
	}
	if m.e.Type == event.Claimed && !slices.ContainsFunc(s.messages, func(other message) bool { return other.e == m.e }) {
		s.claimIsDurable(m.e.Run)
	}
}

func (m message) String() string {
	switch {
	case m.request != nil:
		return fmt.Sprintf("request %d of submit %d", m.request.dispatch, m.submit)
	case m.submit != nobody:
		return fmt.Sprintf("%s of submit %d", m.e.Type, m.submit)
	case m.e.Run != "":
		return fmt.Sprintf("%s of run %s", m.e.Type, m.e.Run)
	default:
		return string(m.e.Type)
	}
}

// Clients: they cancel and retry by what a tracker's fold has, which may be stale.

func (w *walker) clients() {
	for _, t := range w.from.trackers {
		if !t.up || t.known.job == nil {
			continue
		}
		k := t.known
		order := func(kind event.Type) func(s *state) {
			return func(s *state) {
				s.left.orders++
				s.messages = append(s.messages, message{submit: nobody, order: s.left.orders, life: k.life,
					e: w.c.orderEvent(kind, k.job)})
			}
		}
		if !k.job.Ended() && w.from.left.cancels > 0 {
			w.step(false, func(s *state) { s.left.cancels--; order(event.CancelRequested)(s) }, "a client cancels")
		}
		if k.job.Ended() && w.from.left.retries > 0 {
			w.step(false, func(s *state) { s.left.retries--; order(event.RetryRequested)(s) }, "a client retries")
		}
		if k.job.Ended() && !k.job.Erased() && w.from.left.erasures > 0 {
			w.step(false, func(s *state) { s.left.erasures--; order(event.Erased)(s) }, "a client erases")
		}
	}
}

func (c *Config) orderEvent(kind event.Type, j *fold.Job) *event.Event {
	return &event.Event{V: event.Version, Type: kind, JobID: "j", Life: j.Life, Round: j.Round}
}

// Trackers: RULES.md, Tracker.

func (w *walker) trackerSteps() {
	for i := range w.from.trackers {
		if !w.from.trackers[i].up {
			w.step(w.from.holder != nobody, func(s *state) {
				s.holder, s.saver = i, i
				s.trackers[i] = tracker{up: true, position: s.checkpoint.position, known: s.checkpoint.known}
			}, "tracker %d takes over", i)
			continue
		}
		w.folds(i)
		w.timers(i)
		if w.c.Lag && w.from.saver == i && w.from.trackers[i].position > w.from.checkpoint.position {
			w.step(false, func(s *state) {
				s.checkpoint.position, s.checkpoint.known = s.trackers[i].position, s.trackers[i].known
			}, "tracker %d saves", i)
		}
		down := func(s *state) { s.trackers[i] = tracker{} }
		if w.from.holder == i {
			w.step(true, func(s *state) { down(s); s.holder = nobody }, "tracker %d crashes", i)
		} else {
			w.step(false, down, "tracker %d learns that it is a zombie", i)
		}
	}
}

func (w *walker) folds(i int) {
	t := &w.from.trackers[i]
	at := slices.IndexFunc(w.from.log, func(r record) bool { return r.offset == t.position })
	if at < 0 {
		return
	}
	e := w.from.log[at].msg.e
	r := w.c.fold(t.known.job, e, fold.Meta{Offset: t.position, Time: w.from.log[at].time})
	to := known{job: r.Job, life: t.known.life}
	if t.known.job == nil && r.Job != nil {
		to.life++
	}
	take := func(s *state) {
		s.trackers[i].position++
		s.trackers[i].known = to
		if !w.c.Lag && s.saver == i {
			s.checkpoint.position, s.checkpoint.known = s.trackers[i].position, to
		}
	}
	w.step(false, func(s *state) {
		take(s)
		for _, o := range r.Orders {
			if given := (order{o.Type, o.Run}); s.live(o.Run) && !slices.Contains(s.orders, given) {
				s.orders = append(s.orders, given)
			}
		}
	}, "tracker %d folds %s", i, e.Type)
	if slices.ContainsFunc(r.Orders, func(o event.Order) bool { return w.from.live(o.Run) }) {
		w.step(true, take, "tracker %d folds %s, its orders are lost", i, e.Type)
	}
}

// unfolded reports whether tracker i still has to fold an event that matches.
func (s *state) unfolded(i int, like func(e *event.Event) bool) bool {
	return slices.ContainsFunc(s.log, func(r record) bool { return r.offset >= s.trackers[i].position && like(r.msg.e) })
}

func (w *walker) timers(i int) {
	k := w.from.trackers[i].known
	if k.job == nil {
		return
	}
	for _, kind := range debts(k.job) {
		if kind == fold.HandOut {
			w.handOut(i)
			continue
		}
		e := fold.DebtEvent(k.job, kind)
		e.V = event.Version
		same := func(other *event.Event) bool {
			return other.Type == e.Type && other.Dispatch == e.Dispatch && other.Round == e.Round
		}
		if w.from.unfolded(i, same) || kind == fold.Expiry && !w.mayExpire() {
			continue
		}
		// The lease of a run that is alive expires only by a fault.
		fault := kind == fold.Lease && slices.ContainsFunc(w.from.runs, func(r run) bool {
			return r.id == k.job.Run
		})
		w.step(fault, func(s *state) {
			if kind == fold.Expiry {
				s.left.expiries--
				s.era++
			}
			s.append(w.c, message{e: e, submit: nobody, life: k.life})
		}, "tracker %d appends %s", i, e.Type)
	}
}

// mayExpire reports whether the job may expire: not while a submit is under way, for retention is longer
// than a submit takes.
func (w *walker) mayExpire() bool {
	return w.from.left.expiries > 0 && !slices.ContainsFunc(w.from.messages, func(m message) bool {
		return m.submit != nobody
	}) &&
		!slices.ContainsFunc(w.from.submits, func(b submit) bool { return b.phase == requestSent || b.phase == acceptedSent })
}

// handOut makes the next dispatch: the tracker first produces its request, then appends requeued.
func (w *walker) handOut(i int) {
	t := &w.from.trackers[i]
	j := t.known.job
	if j.Doc.State == job.Scheduled && !w.from.due {
		return
	}
	requeue := func(at int) (message, bool) {
		m := message{submit: nobody, life: t.known.life, e: &event.Event{V: event.Version, Type: event.Requeued, JobID: "j",
			Life:     j.Life,
			Dispatch: j.Dispatch, Request: &event.Position{Topic: requestsTopic, Offset: int64(at)}}}
		return m, !w.from.unfolded(i, func(e *event.Event) bool {
			return e.Type == event.Requeued && e.Dispatch == j.Dispatch
		})
	}
	produce := func(s *state) {
		from := s.requests
		if j.Source.Topic == deferredTopic {
			from = s.deferred
		}
		s.requests = append(s.requests, request{dispatch: j.Dispatch, payload: from[j.Source.Offset].payload,
			name: from[j.Source.Offset].name,
			era:  s.era, life: t.known.life})
	}
	if w.c.Without == FactAfter {
		if m, ok := requeue(len(w.from.requests)); ok {
			w.step(false, func(s *state) { s.append(w.c, m); produce(s) }, "tracker %d appends requeued and produces", i)
			w.step(true, func(s *state) { s.append(w.c, m) }, "tracker %d appends requeued and crashes", i)
		}
		return
	}
	if t.produced == j.Dispatch {
		if m, ok := requeue(t.at); ok {
			w.step(false, func(s *state) { s.append(w.c, m) }, "tracker %d appends requeued", i)
		}
		return
	}
	w.step(false, func(s *state) {
		produce(s)
		s.trackers[i].produced, s.trackers[i].at = j.Dispatch, len(s.requests)-1
	}, "tracker %d produces dispatch %d", i, j.Dispatch)
	w.step(true, produce, "tracker %d produces dispatch %d and does not know", i, j.Dispatch)
}
