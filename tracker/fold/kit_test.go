package fold

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

const jobID = "0198c0de-0000-7000-8000-000000000001"

var t0 = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// policy is what the jobs of these tests are made with.
func policy() *job.Policy {
	sec := func(n float64) job.Seconds { return job.Seconds(n * float64(time.Second)) }
	return &job.Policy{
		Attempts: 3,
		Backoff:  job.Backoff{Initial: sec(1), Factor: 2, Cap: sec(10)},
		Lease:    sec(30), Timeout: sec(600), Deadline: sec(3600), Grace: sec(15), Retention: sec(86400),
	}
}

func request(offset int64) *event.Position {
	return &event.Position{Topic: "ackwire.requests.default", Partition: 1, Offset: offset}
}

// log is a job's log that is written while it is folded.
type log struct {
	t    *testing.T
	job  *Job
	next int64
	now  time.Time
	last Result
}

func newLog(t *testing.T) *log { return &log{t: t, now: t0} }

// mod changes an event before it is appended.
type mod func(*event.Event)

func dispatch(n int) mod       { return func(e *event.Event) { e.Dispatch = n } }
func run(name string) mod      { return func(e *event.Event) { e.Run, e.Worker = name, "worker-of-"+name } }
func from(offset int64) mod    { return func(e *event.Event) { e.Request = request(offset) } }
func round(n int) mod          { return func(e *event.Event) { e.Round = n } }
func renewal(n int64) mod      { return func(e *event.Event) { e.Renewal = &n } }
func hash(h string) mod        { return func(e *event.Event) { e.PayloadHash = h } }
func runAt(at time.Time) mod   { return func(e *event.Event) { e.RunAt = &at } }
func percent(p float64) mod    { return func(e *event.Event) { e.Progress = &job.Progress{Percent: p} } }
func attempts(n int) mod       { return func(e *event.Event) { e.Policy.Attempts = n } }
func result(doc string) mod    { return func(e *event.Event) { e.Result = json.RawMessage(doc) } }
func life(name string) mod     { return func(e *event.Event) { e.Life = name } }
func permanent(e *event.Event) { e.Error.Retryable = false }

func callback(states ...job.State) mod {
	return func(e *event.Event) { e.CallbackURL, e.CallbackEvents = "https://example.com/hook", states }
}

func requestedAt(at time.Time) mod { return func(e *event.Event) { e.RequestedAt = &at } }

func told(version int64) mod { return func(e *event.Event) { e.Delivery.Version = version } }

func retryAfter(d time.Duration) mod {
	return func(e *event.Event) { s := job.Seconds(d); e.Error.RetryAfter = &s }
}

// an returns a valid event of the type, which fits dispatch 1 and the run "r1".
func an(t *testing.T, typ event.Type, mods ...mod) *event.Event {
	t.Helper()
	e := &event.Event{V: event.Version, Type: typ, JobID: jobID}
	switch typ {
	case event.Accepted, event.Claimed:
		e.Job = "report.generate"
		e.Tenant = "acme"
		e.Subject = "alice"
		e.Lane = "default"
		e.PayloadHash, e.Policy, e.Request = "sha256:1", policy(), request(7)
	case event.Requeued, event.RequestLost:
		e.Request = request(8)
	case event.Progress:
		e.Progress = &job.Progress{Percent: 10}
	case event.Completed:
		e.Result = json.RawMessage(`{"ok":true}`)
	case event.Failed:
		e.Error = &event.Failure{Error: job.Error{Code: "boom", Message: "it broke", Retryable: true}}
	case event.LeaseExpired:
		e.Renewal = new(int64)
	case event.CallbackQueued:
		e.Delivery = &event.Delivery{JobID: "d1", State: job.Completed, Version: 1}
	}
	switch typ {
	case event.Claimed, event.Beat, event.Progress, event.Completed, event.Failed, event.Released,
		event.LeaseExpired, event.AttemptTimedOut:
		e.Dispatch, e.Run, e.Worker = 1, "r1", "worker-of-r1"
	case event.Requeued, event.CancelForced, event.PayloadLost:
		e.Dispatch = 1
	}
	for _, m := range mods {
		m(e)
	}
	if err := e.Validate(); err != nil {
		t.Fatalf("the test's event is not valid: %v", err)
	}
	return e
}

// add appends and folds an event a second after the last one.
func (l *log) add(typ event.Type, mods ...mod) Result {
	l.t.Helper()
	l.now = l.now.Add(time.Second)
	before := clone(l.t, l.job)
	l.last = Fold(l.job, an(l.t, typ, mods...), Meta{Offset: l.next, Time: l.now})
	if !reflect.DeepEqual(before, l.job) {
		l.t.Fatalf("%s changed the job that it was given", typ)
	}
	l.job = l.last.Job
	l.next++
	return l.last
}

// took appends an event that must be taken.
func (l *log) took(why string, typ event.Type, mods ...mod) Result {
	l.t.Helper()
	r := l.add(typ, mods...)
	if !r.Changed {
		l.t.Fatalf("%s: %s was refused: %s", why, typ, r.Reason)
	}
	return r
}

// refused appends an event that must be refused.
func (l *log) refused(why string, want Reason, typ event.Type, mods ...mod) Result {
	l.t.Helper()
	was := l.job
	r := l.add(typ, mods...)
	switch {
	case r.Changed:
		l.t.Fatalf("%s: %s was taken, want it refused: %s", why, typ, want)
	case r.Reason != want:
		l.t.Fatalf("%s: %s was refused because of %q, want %q", why, typ, r.Reason, want)
	case r.Job != was:
		l.t.Fatalf("%s: a refused %s gave another job", why, typ)
	}
	return r
}

func (l *log) wantState(why string, want job.State) {
	l.t.Helper()
	if l.job == nil || l.job.Doc.State != want {
		l.t.Fatalf("%s: job is %+v, want it %s", why, l.job, want)
	}
}

// wantOrders compares the orders that the last event earned: "stop r1", "granted r2" …
func (l *log) wantOrders(why string, want ...string) {
	l.t.Helper()
	var got []string
	for _, o := range l.last.Orders {
		got = append(got, fmt.Sprintf("%s %s", o.Type, o.Run))
	}
	if !reflect.DeepEqual(got, want) {
		l.t.Fatalf("%s: orders %v, want %v", why, got, want)
	}
}

// clone goes the way of the store: JSON and back.
func clone(t testing.TB, j *Job) *Job {
	t.Helper()
	if j == nil {
		return nil
	}
	b, err := json.Marshal(j)
	if err != nil {
		t.Fatalf("encode job: %v", err)
	}
	var c Job
	if err := errors.Join(json.Unmarshal(b, &c), json.Unmarshal(j.Document(), &c.Doc)); err != nil {
		t.Fatalf("decode job: %v", err)
	}
	return &c
}
