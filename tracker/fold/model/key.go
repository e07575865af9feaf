package model

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/fold"
)

// key identifies a state up to the names of runs, workers and trackers, and up to the
// offsets of status, of which only the order counts.
type key [16]byte

// key returns the state's key: the smallest encoding over all ways to name workers and trackers, hashed.
func (s *state) key() key {
	var least []byte
	for _, ws := range permutations(len(s.workers)) {
		for _, ts := range permutations(len(s.trackers)) {
			if b := s.encode(ws, ts); least == nil || slices.Compare(b, least) < 0 {
				least = b
			}
		}
	}
	sum := sha256.Sum256(least)
	return key(sum[:16])
}

// permutations returns all orders of 0 … n-1, for n of 0 to 2.
func permutations(n int) [][]int {
	switch n {
	case 2:
		return [][]int{{0, 1}, {1, 0}}
	case 1:
		return [][]int{{0}}
	default:
		return [][]int{nil}
	}
}

// encoder writes a state with runs and offsets renamed in the order in which it meets them.
type encoder struct {
	b       []byte
	runs    []string
	offsets []int64 // of status, sorted
	workers []int   // name → index
	byIndex []int   // index → name
}

// encode writes the state with workers and trackers in the given orders. Two states have the same
// encoding exactly when they differ only in names and in the size of gaps between offsets: runs are
// numbered and offsets are ranked in the order in which they are met.
func (s *state) encode(workers, trackers []int) []byte {
	enc := &encoder{offsets: s.offsets(), workers: workers, byIndex: make([]int, len(workers))}
	for name, i := range workers {
		enc.byIndex[i] = name
	}
	trackerName := make([]int, len(trackers))
	for name, i := range trackers {
		trackerName[i] = name
	}
	enc.known(s.now)
	enc.known(s.checkpoint.known)
	enc.offset(s.checkpoint.position)
	for _, i := range trackers {
		t := &s.trackers[i]
		enc.flag(t.up)
		if t.up {
			enc.known(t.known)
			enc.offset(t.position)
			enc.ints(t.produced, t.at)
		}
	}
	enc.ints(len(s.log))
	for _, r := range s.log {
		enc.offset(r.offset)
		enc.message(r.msg)
	}
	enc.ints(len(s.requests), len(s.deferred), s.commit)
	for _, r := range slices.Concat(s.requests, s.deferred) {
		enc.ints(r.dispatch, r.life, s.era-r.era)
		enc.text(r.payload)
		enc.text(r.name)
	}
	for _, b := range s.submits {
		enc.ints(int(b.phase), int(b.request.Offset))
		enc.flag(b.landed)
		enc.text(b.request.Topic)
		enc.text(string(b.verdict))
	}
	for _, i := range workers {
		w := &s.workers[i]
		enc.ints(w.next, w.backlog, w.fetched, len(w.marked))
		enc.ints(w.marked...)
	}
	enc.ints(enc.worker(s.owner), name(trackerName, s.holder), name(trackerName, s.saver))
	enc.flag(s.due)
	enc.parts(len(s.runs), func(i int) {
		r := &s.runs[i]
		enc.ints(enc.worker(r.worker), r.dispatch, r.offset, int(r.stance))
		enc.text(r.payload)
		enc.flag(r.ask)
		enc.flag(r.again)
		enc.flag(r.beaten)
	}, func(i int) { enc.run(s.runs[i].id) })
	enc.parts(len(s.messages), func(i int) { enc.message(s.messages[i]) }, nil)
	enc.parts(len(s.orders), func(i int) {
		enc.text(string(s.orders[i].kind))
		enc.run(s.orders[i].run)
	}, nil)
	enc.parts(len(s.won), func(i int) {
		enc.ints(s.wonFor[i])
		enc.run(s.won[i].run)
	}, nil)
	enc.parts(len(s.refused), func(i int) { enc.run(s.refused[i]) }, nil)
	enc.parts(len(s.taken), func(i int) { enc.ints(s.taken[i]) }, nil)
	l := s.left
	enc.ints(l.faults, l.cancels, l.retries, l.releases, l.expiries, l.erasures, l.orders)
	return enc.b
}

// name returns the new index of i; nobody is not renamed.
func name(names []int, i int) int {
	if i == nobody {
		return nobody
	}
	return names[i]
}

// offsets returns all offsets of status that occur in the state, sorted.
func (s *state) offsets() []int64 {
	var all []int64
	note := func(e *event.Event) {
		if e != nil && e.Renewal != nil {
			all = append(all, *e.Renewal)
		}
	}
	s.eachKnown(func(k known) {
		if k.job != nil {
			all = append(all, k.job.Version, k.job.Renewal)
		}
	})
	all = append(all, s.checkpoint.position)
	for i := range s.trackers {
		all = append(all, s.trackers[i].position)
	}
	for _, r := range s.log {
		all = append(all, r.offset)
		note(r.msg.e)
	}
	for _, m := range s.messages {
		note(m.e)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// parts writes a set: each member by first, sorted by these encodings, and then, if second is not nil,
// each member by second in the same order.
func (enc *encoder) parts(n int, first, second func(i int)) {
	type part struct {
		b []byte
		i int
	}
	all := make([]part, n)
	whole := enc.b
	for i := range n {
		enc.b = nil
		first(i)
		all[i] = part{enc.b, i}
	}
	slices.SortStableFunc(all, func(a, b part) int { return slices.Compare(a.b, b.b) })
	enc.b = binary.AppendVarint(whole, int64(n))
	for _, p := range all {
		enc.b = append(enc.b, p.b...)
	}
	if second != nil {
		for _, p := range all {
			second(p.i)
		}
	}
}

func (enc *encoder) ints(all ...int) {
	for _, i := range all {
		enc.b = binary.AppendVarint(enc.b, int64(i))
	}
}

func (enc *encoder) flag(f bool) {
	if f {
		enc.b = append(enc.b, 1)
	} else {
		enc.b = append(enc.b, 0)
	}
}

func (enc *encoder) text(t string) {
	enc.ints(len(t))
	enc.b = append(enc.b, t...)
}

func (enc *encoder) offset(o int64) {
	rank, _ := slices.BinarySearch(enc.offsets, o)
	enc.ints(rank)
}

func (enc *encoder) run(id string) {
	if id == "" {
		enc.ints(-1)
		return
	}
	i := slices.Index(enc.runs, id)
	if i < 0 {
		i = len(enc.runs)
		enc.runs = append(enc.runs, id)
	}
	enc.ints(i)
}

func (enc *encoder) worker(i int) int { return name(enc.byIndex, i) }

func (enc *encoder) position(p *event.Position) {
	if p == nil {
		enc.ints(-1)
		return
	}
	enc.text(p.Topic)
	enc.ints(int(p.Offset))
}

func (enc *encoder) known(k known) {
	enc.ints(k.life)
	enc.flag(k.job != nil)
	if k.job != nil {
		enc.job(k.job)
	}
}

// job writes the fields of a job that the rules read. TestTheKeyCoversAJob checks that none is missing.
func (enc *encoder) job(j *fold.Job) {
	enc.text(string(j.Doc.State))
	enc.text(j.PayloadHash)
	enc.text(j.Life)
	enc.offset(j.Version)
	enc.offset(j.Renewal)
	enc.run(j.Run)
	enc.ints(j.Dispatch, j.Round, j.Doc.Attempt, j.Doc.MaxAttempts)
	enc.flag(j.Accepted)
	enc.flag(j.Doc.CancelRequested)
	enc.flag(j.CancelAt != nil)
	enc.flag(j.Doc.RunAt != nil)
	enc.position(&j.Source)
	enc.position(j.Request)
}

func (enc *encoder) message(m message) {
	enc.ints(m.submit, m.order, m.life)
	if m.request != nil {
		enc.ints(m.request.dispatch, m.request.life)
		enc.text(m.request.payload)
		return
	}
	e := m.e
	enc.text(string(e.Type))
	enc.text(e.PayloadHash)
	enc.text(e.Life)
	enc.run(e.Run)
	enc.ints(e.Dispatch, e.Round)
	enc.position(e.Request)
	enc.flag(e.NoGrant)
	enc.flag(e.RunAt != nil)
	if e.Renewal != nil {
		enc.offset(*e.Renewal)
	}
}
