package outbox

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The frames of these tests say what they are: "c7;" is the seventh control frame and
// "s3:42;" version 42 of job 3.
func control(n int) []byte { return fmt.Appendf(nil, "c%d;", n) }

func status(job int, version int64) *Frame {
	return &Frame{Bytes: fmt.Appendf(nil, "s%d:%d;", job, version), Version: version}
}

// watched is the model of one slot.
type watched struct {
	slot    Slot
	job     int
	pending int64 // the version that waits; 0 for none
	last    int64 // versions up to this one are dropped
	sent    int64 // the last version that was sent
	holds   int
	ack     int // the control frame that must come before its first status
}

// model is a simple model of an outbox without its list: it holds what waits, in the order in which it must come out.
type model struct {
	t   *testing.T
	rng *rand.Rand
	out Outbox

	watches  []*watched
	jobs     int   // made so far
	waiting  []any // *watched, each at most once, and control frames (int)
	controls int   // made so far
	sent     int   // the last control frame that was sent
	flushing bool
	closed   bool
	log      []string
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("after\n  %s\n%s", strings.Join(m.log, "\n  "), fmt.Sprintf(format, args...))
}

func (m *model) did(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) want(got, want Outcome) {
	m.t.Helper()
	if got != want {
		m.fail("outcome %d, want %d", got, want)
	}
}

// started returns the outcome of queueing something: exactly one flush runs while anything waits.
func (m *model) started() Outcome {
	if m.flushing {
		return Queued
	}
	m.flushing = true
	return Start
}

func (m *model) some() *watched { return m.watches[m.rng.IntN(len(m.watches))] }

func (m *model) watch() *watched {
	m.jobs++
	w := &watched{job: m.jobs}
	m.watches = append(m.watches, w)
	return w
}

func (m *model) send() int {
	want := Closed
	n := m.controls + 1
	if !m.closed {
		m.controls = n
		m.waiting = append(m.waiting, n)
		want = m.started()
	}
	m.did("send c%d", n)
	m.want(m.out.Send(control(n)), want)
	return n
}

func (m *model) put(w *watched, version int64) {
	want := Old
	if m.closed {
		want = Closed
	}
	if !m.closed && version > w.last {
		replaced := w.pending != 0
		w.pending, w.last = version, version
		switch queued := slices.Contains(m.waiting, any(w)); {
		case replaced:
			want = Replaced
		case w.holds > 0, queued:
			want = Queued
		default:
			m.waiting = append(m.waiting, w)
			want = m.started()
		}
	}
	m.did("put s%d:%d", w.job, version)
	m.want(m.out.Put(&w.slot, status(w.job, version)), want)
}

func (m *model) hold(w *watched) {
	w.holds++
	m.did("hold %d", w.job)
	m.out.Hold(&w.slot)
}

func (m *model) release(w *watched) {
	w.holds--
	want := Queued
	if w.holds == 0 && w.pending != 0 && !m.closed && !slices.Contains(m.waiting, any(w)) {
		m.waiting = append(m.waiting, w)
		want = m.started()
	}
	m.did("release %d", w.job)
	m.want(m.out.Release(&w.slot), want)
}

// submitted does what a session does for the job of a submit: no status may be sent before the ack.
func (m *model) submitted() {
	w := m.watch()
	m.hold(w)
	if m.rng.IntN(2) == 0 {
		m.put(w, 1+m.rng.Int64N(5))
	}
	w.ack = m.send()
	m.release(w)
}

// resubscribed does what a session does to watch a job again: a new slot continues after the old one, and no version up
// to after is sent.
func (m *model) resubscribed() {
	i := m.rng.IntN(len(m.watches))
	old, after := m.watches[i], m.rng.Int64N(100)
	w := &watched{job: old.job, last: max(after, old.last), sent: old.sent, holds: 1}
	m.watches[i] = w
	if !m.closed { // else what was queued before is sent as it is
		if old.pending > after {
			w.pending = old.pending
		}
		old.pending = 0
	}
	m.did("subscribe %d again after %d", w.job, after)
	m.out.Skip(&w.slot, after)
	m.out.Hold(&w.slot)
	m.out.Inherit(&w.slot, &old.slot)
	if m.rng.IntN(2) == 0 {
		m.put(w, m.rng.Int64N(100))
	}
	w.ack = m.send()
	m.release(w)
}

// clear does what a session does at the end of a watch: nothing is put into its slot any more.
func (m *model) clear() {
	if len(m.watches) == 1 {
		return
	}
	i := m.rng.IntN(len(m.watches))
	w := m.watches[i]
	m.watches = slices.Delete(m.watches, i, i+1)
	w.pending = 0
	m.did("clear %d", w.job)
	m.out.Clear(&w.slot)
}

func (m *model) close() {
	m.did("close")
	if m.closed {
		m.want(m.out.Close([]byte("late;")), Closed)
		return
	}
	m.closed = true
	m.controls++
	m.waiting = append(m.waiting, m.controls)
	want := m.started()
	m.want(m.out.Close(control(m.controls)), want)
}

func (m *model) take() {
	if !m.flushing {
		return
	}
	limit := m.rng.IntN(60)
	m.did("take %d", limit)
	taken, times, more := m.out.Take(nil, nil, limit)
	buf := joined(taken)
	statuses := len(times)
	got := bytes.SplitAfter(buf, []byte(";"))
	got = got[:len(got)-1]
	for i, b := range got {
		m.wantNext(string(b))
		if b[0] == 's' {
			statuses--
		}
		if size := len(bytes.Join(got[:i+1], nil)); i > 0 && size > limit {
			m.fail("%d bytes at once, the limit is %d", size, limit)
		}
	}
	if statuses != 0 {
		m.fail("the number of statuses is off by %d", statuses)
	}
	if more != (len(buf) > 0) {
		m.fail("more is %v with %d bytes", more, len(buf))
	}
	if !more {
		m.flushing = false
		if next := m.next(); next != "" {
			m.fail("the flush is over while %s waits", next)
		}
	}
	if m.out.Idle() != (!m.flushing && len(m.waiting) == 0) {
		m.fail("idle is %v", m.out.Idle())
	}
}

// next returns the frame that must come out next; it removes entries without a frame.
func (m *model) next() string {
	for len(m.waiting) > 0 {
		switch e := m.waiting[0].(type) {
		case int:
			return string(control(e))
		case *watched:
			if e.pending != 0 {
				return string(status(e.job, e.pending).Bytes)
			}
		}
		m.waiting = m.waiting[1:]
	}
	return ""
}

func (m *model) wantNext(got string) {
	m.t.Helper()
	if want := m.next(); got != want {
		m.fail("sent %s, want %s", got, want)
	}
	switch e := m.waiting[0].(type) {
	case int:
		if e != m.sent+1 {
			m.fail("control frame %d after %d", e, m.sent)
		}
		m.sent = e
	case *watched:
		if e.pending <= e.sent {
			m.fail("version %d of job %d after %d", e.pending, e.job, e.sent)
		}
		if e.ack > m.sent && !m.closed {
			m.fail("a status of job %d before its answer c%d", e.job, e.ack)
		}
		if e.holds > 0 {
			m.fail("a status of job %d, which is held", e.job)
		}
		e.sent, e.pending = e.pending, 0
	}
	m.waiting = m.waiting[1:]
}

// TestModel does what a session may do, in random order, and compares with the model: control
// frames are in order and none is lost; of each job there is at most one status, the newest, in the
// place of the first that was not sent; and no status comes before the job's ack.
func TestModel(t *testing.T) {
	const runs, steps = 2000, 120
	for seed := range uint64(runs) {
		m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 0))}
		m.did("seed %d", seed)
		m.watch()
		for range steps {
			switch n := m.rng.IntN(100); {
			case n < 45:
				w := m.some()
				m.put(w, max(1, w.last+m.rng.Int64N(5)-1))
			case n < 60:
				m.send()
			case n < 68:
				m.submitted()
			case n < 74:
				m.resubscribed()
			case n < 77:
				m.clear()
			case n < 78 && m.rng.IntN(10) == 0:
				m.close()
			default:
				m.take()
			}
		}
		for m.flushing {
			m.take()
		}
		if m.sent != m.controls {
			m.fail("%d control frames sent of %d", m.sent, m.controls)
		}
		for _, w := range m.watches {
			if w.pending != 0 {
				m.fail("version %d of job %d was never sent", w.pending, w.job)
			}
		}
		if !m.out.Idle() {
			m.fail("not idle at the end")
		}
	}
}

// parse reads a test frame: a control frame has job 0.
func parse(t *testing.T, b string) (job int, n int64) {
	t.Helper()
	kind, rest := b[0], strings.TrimSuffix(b[1:], ";")
	if kind == 's' {
		first, second, _ := strings.Cut(rest, ":")
		var err error
		if job, err = strconv.Atoi(first); err != nil {
			t.Fatal(err)
		}
		rest = second
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return job, n
}
