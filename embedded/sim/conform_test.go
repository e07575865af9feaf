package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// TestTheServerOfTestsIsLikeTheRealOne: what a client sees of ackwiretest is what it sees of the services: the same
// calls, over a socket and over HTTP, are written down with all that came back, but for times, IDs and versions.
func TestTheServerOfTestsIsLikeTheRealOne(t *testing.T) {
	var actual, memory string
	Run(t, func(w *World) {
		w.StartWorker(nil)
		time.Sleep(10 * time.Second) // the worker has joined its lanes
		actual = conformance(w.ctx(), w.Dial(), w.NewHTTP())
	})
	bubble.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		demoHandlers(srv)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		memory = conformance(ctx, srv.Dial(t), srv.NewHTTP(t))
	})
	compare(t, actual, memory, 60)
}

// startsIn is when a scheduled job of the scripts starts: later than its timer, and the log's clock, look ahead. An
// hour of idle services costs a minute of the machine's time.
const startsIn = 2 * time.Minute

// demoHandlers works on the demo job types as package demo does, with their own rules.
func demoHandlers(srv *ackwiretest.Server) {
	srv.JobTypes(jobtypes.Default())
	srv.Handle(demo.Echo, func(_ context.Context, j *ackwiretest.Job) (any, error) { return j.Payload, nil })
	srv.Handle(demo.Fail, func(_ context.Context, j *ackwiretest.Job) (any, error) {
		var in struct{ Message string }
		err := j.Decode(&in)
		return nil, errors.Join(err, &ackwiretest.Failure{Code: "demo_failed", Message: in.Message})
	})
	srv.Handle(demo.Flaky, func(_ context.Context, j *ackwiretest.Job) (any, error) {
		var in struct{ Failures int }
		if err := j.Decode(&in); err != nil {
			return nil, err
		}
		if j.Attempt <= in.Failures {
			return nil, fmt.Errorf("attempt %d of a job that fails %d times", j.Attempt, in.Failures)
		}
		return map[string]int{"attempts": j.Attempt}, nil
	})
	srv.Handle(demo.Sleep, func(ctx context.Context, j *ackwiretest.Job) (any, error) {
		var in struct {
			Seconds float64 `json:"seconds"`
			Steps   int     `json:"steps"`
		}
		if err := j.Decode(&in); err != nil {
			return nil, err
		}
		steps := max(in.Steps, 1)
		for i := range steps {
			if !pause.For(ctx, time.Duration(in.Seconds*float64(time.Second)/float64(steps))) {
				return nil, context.Cause(ctx)
			}
			j.Progress(100*float64(i+1)/float64(steps), fmt.Sprintf("step %d of %d", i+1, steps))
		}
		return map[string]any{"slept": in.Seconds, "steps": steps}, nil
	})
}

// conformance makes all calls of a client and writes down what came back.
func conformance(ctx context.Context, socket *ackwire.Client, api *ackwire.HTTPClient) string {
	d := &diary{ids: map[string]string{}}
	d.through(ctx, "1", socket)
	d.through(ctx, "2", api)

	d.note("mine and lists")
	mineCtx, stop := context.WithCancel(ctx)
	seen := make(chan map[string]job.State)
	go func() {
		last := map[string]job.State{}
		for st, err := range socket.WatchMine(mineCtx) {
			if err == nil {
				last[st.JobID] = st.State
			}
		}
		seen <- last
	}()
	time.Sleep(time.Second)
	for i := range 3 {
		j, err := api.Submit(ctx, demo.Echo, i)
		d.submitted(fmt.Sprintf("m%d", i), j, err)
		time.Sleep(time.Second)
	}
	stop()
	var mine []string
	for id, state := range <-seen {
		mine = append(mine, d.name(id)+" "+string(state))
	}
	slices.Sort(mine)
	d.note("mine: %s", mine)
	n := 0
	for st, err := range socket.All(ctx, ackwire.ListOptions{States: []job.State{job.Completed},
		Types: []string{demo.Echo}, Limit: 2}) {
		d.note("listed %d: %s", n, d.status(st, err))
		n++
	}
	_, err := api.List(ctx, ackwire.ListOptions{Cursor: "!"})
	d.note("a cursor that is none: %s", problem(err))
	_, err = api.List(ctx, ackwire.ListOptions{Limit: 1000})
	d.note("a limit above its bound: %s", problem(err))
	_, err = api.List(ctx, ackwire.ListOptions{States: []job.State{"asleep"}})
	d.note("a state that is none: %s", problem(err))
	return d.String()
}

// diary is what was seen, a line for each call.
type diary struct {
	strings.Builder
	ids map[string]string // names by job ID
}

func (d *diary) note(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *diary) name(jobID string) string {
	if name, ok := d.ids[jobID]; ok {
		return name
	}
	return "?"
}

func (d *diary) submitted(name string, j *ackwire.Job, err error) {
	if err != nil {
		d.note("submit %s: %s", name, problem(err))
		return
	}
	if _, known := d.ids[j.ID]; !known {
		d.ids[j.ID] = name
	}
	d.note("submit %s: %s is %s at its own address %t, a duplicate %t", name, d.name(j.ID), j.State,
		j.StatusURL == "/v1/jobs/"+j.ID, j.Duplicate)
}

// problem is an error without words for people.
func problem(err error) string {
	if err == nil {
		return "no error"
	}
	failed, _ := errors.AsType[*ackwire.JobError](err)
	if failed != nil && failed.State != "" {
		return fmt.Sprintf("%s %s %q in attempt %d", failed.State, failed.Code, failed.Message, failed.Attempt)
	}
	e, ok := errors.AsType[*ackwire.Error](err)
	if !ok {
		return err.Error()
	}
	return fmt.Sprintf("%s, retryable %t, status %d, indeterminate %t, a job error %t%s", e.Code, e.Retryable, e.Status,
		errors.Is(err, ackwire.ErrIndeterminate), failed != nil, fieldErrors(e))
}

// status is a document without times and words of its own.
func (d *diary) status(st ackwire.Status, err error) string {
	if err != nil {
		return problem(err)
	}
	times := ""
	for _, t := range []struct {
		name string
		at   *time.Time
	}{{"started", st.StartedAt}, {"finished", st.FinishedAt}, {"retry", st.RetryAt}, {"run", st.RunAt}} {
		if t.at != nil {
			times += " " + t.name
		}
	}
	progress, failure, runs := "", "", ""
	if p := st.Progress; p != nil {
		progress = fmt.Sprintf(" at %v %q", p.Percent, p.Message)
	}
	if e := st.Error; e != nil {
		failure = fmt.Sprintf(" for %s %q %t", e.Code, e.Message, e.Retryable)
	}
	for _, a := range st.Attempts {
		outcome := a.Outcome
		if outcome == job.OutcomeTimedOut { // the worker says failed, if it is before the tracker
			outcome = job.OutcomeFailed
		}
		runs += fmt.Sprintf(" %d:%s", a.Number, outcome)
		if a.Error != nil {
			runs += "(" + a.Error.Code + ")"
		}
	}
	return fmt.Sprintf("%s is %s %s%s, attempt %d of %d%s, result %s %q, times%s, runs%s, cancel %t", d.name(st.JobID),
		st.Type, st.State, progress,
		st.Attempt, st.MaxAttempts, failure, st.Result, st.ResultURL, times, runs, st.CancelRequested)
}

// watch writes down the states that are surely told one by one, and the last document.
func (d *diary) watch(ctx context.Context, what string, j *ackwire.Job, opts ...ackwire.WatchOption) {
	var last ackwire.Status
	for st, err := range j.Watch(ctx, opts...) {
		if err != nil {
			d.note("%s: %s", what, problem(err))
			return
		}
		if st.Version <= last.Version {
			d.note("%s: version %d after %d", what, st.Version, last.Version)
		}
		last = st
	}
	d.note("%s: %s", what, d.status(last, nil))
}

// through makes the calls that a socket and HTTP have in common.
func (d *diary) through(ctx context.Context, prefix string, client ackwire.Submitter) {
	d.note("client %s", prefix)
	submit := func(name, jobType string, payload any, opts ...ackwire.SubmitOption) *ackwire.Job {
		j, err := client.Submit(ctx, jobType, payload, opts...)
		d.submitted(prefix+name, j, err)
		return j
	}
	get := func(what string, j *ackwire.Job) {
		st, err := j.Get(ctx)
		d.note("%s: %s", what, d.status(st, err))
	}
	why := func(what string, j *ackwire.Job) {
		w, err := j.Why(ctx)
		d.note("%s: %s %s, next %t, %s", what, w.State, w.Reason, w.NextAt != nil, problem(err))
	}
	result := func(what string, j *ackwire.Job) {
		r, err := j.Result(ctx)
		if err != nil {
			d.note("%s: %s", what, problem(err))
			return
		}
		b, err := io.ReadAll(r)
		d.note("%s: %s %s %q %t %v", what, b, r.ContentType, r.Name, r.Size == int64(len(b)), errors.Join(err, r.Close()))
	}

	echo := submit("echo", demo.Echo, map[string]any{"n": 1, "text": "a < b & ü"}, ackwire.Key(prefix+"k"))
	d.watch(ctx, "watch", echo)
	d.watch(ctx, "watch again", echo)
	d.watch(ctx, "watch by its ID", client.Job(strings.ToUpper(echo.ID)))
	st, err := client.Job(echo.ID).Wait(ctx)
	d.note("wait by its ID: %s", d.status(st, err))
	get("get", echo)
	why("why it ended", echo)
	result("result", echo)
	dl, err := echo.Deliveries(ctx)
	d.note("deliveries: %s %d, %s", d.name(dl.JobID), len(dl.Deliveries), problem(err))
	submit("same", demo.Echo, json.RawMessage(`{ "text":"a < b & ü", "n":1 }`), ackwire.Key(prefix+"k"))
	submit("other", demo.Echo, 2, ackwire.Key(prefix+"k"))
	submit("other type", demo.Fail, map[string]string{"message": "no"}, ackwire.Key(prefix+"k"))
	submit("unknown", "no.such.type", 1)
	submit("unfit", demo.Sleep, map[string]string{"seconds": "ten"})
	submit("long key", demo.Echo, 1, ackwire.Key(strings.Repeat("k", 129)))

	fails := submit("fails", demo.Fail, map[string]string{"message": "told to"})
	d.watch(ctx, "a failure", fails)
	result("result of a failure", fails)
	_, err = ackwire.Type[any, any](demo.Fail).Job(client, fails.ID).Result(ctx)
	d.note("typed: %s", problem(err))
	flaky := submit("flaky", demo.Flaky, map[string]int{"failures": 2})
	d.watch(ctx, "two failures", flaky)
	out, err := ackwire.Type[any, struct{ Attempts int }](demo.Flaky).Job(client, flaky.ID).Result(ctx)
	d.note("typed: %+v %s", out, problem(err))
	spent := submit("spent", demo.Flaky, map[string]int{"failures": 9})
	d.watch(ctx, "spent", spent)
	state, err := spent.Retry(ctx)
	d.note("retry: %s %s", state, problem(err))
	d.watch(ctx, "retried", spent)
	d.watch(ctx, "retried, by its ID", client.Job(spent.ID))

	sleeps := submit("sleeps", demo.Sleep, map[string]any{"seconds": 40, "steps": 4})
	time.Sleep(15 * time.Second)
	get("it runs", sleeps)
	why("why it runs", sleeps)
	result("result of a running job", sleeps)
	state, err = sleeps.Retry(ctx)
	d.note("retry of a running job: %s %s", state, problem(err))
	_, err = sleeps.Cancel(ctx) // its handler may have ended by the ack
	d.note("cancel: %s", problem(err))
	d.watch(ctx, "cancelled", sleeps)
	state, err = sleeps.Cancel(ctx)
	d.note("cancel again: %s %s", state, problem(err))
	_, err = ackwire.Type[any, any](demo.Sleep).Job(client, sleeps.ID).Result(ctx)
	d.note("typed: %s", problem(err))

	late := submit("late", demo.Sleep, map[string]any{"seconds": 600}, ackwire.RunAt(time.Now().Add(startsIn)),
		ackwire.Timeout(time.Minute), ackwire.Deadline(2*time.Hour))
	why("why it is scheduled", late)
	get("scheduled", late)
	time.Sleep(startsIn)
	d.watch(ctx, "timed out", late)
	over := submit("over", demo.Sleep, map[string]any{"seconds": 600}, ackwire.Deadline(time.Minute))
	d.watch(ctx, "too long", over)
	never := submit("never", demo.Echo, 1, ackwire.RunAt(time.Now().Add(time.Hour)), ackwire.NoWatch())
	state, err = never.Cancel(ctx)
	d.note("cancel of a scheduled job: %s %s", state, problem(err))

	d.note("a job that there is not")
	gone := client.Job("01a208fd-2dc6-7467-acd5-bb987da2c71e")
	get("get", gone)
	why("why", gone)
	result("result", gone)
	d.watch(ctx, "watch", gone)
	_, err = gone.Wait(ctx)
	d.note("wait: %s", problem(err))
	_, err = gone.Cancel(ctx)
	d.note("cancel: %s", problem(err))
	_, err = gone.Retry(ctx)
	d.note("retry: %s", problem(err))
	_, err = ackwire.Type[any, any](demo.Echo).Job(client, gone.ID).Result(ctx)
	d.note("typed: %s", problem(err))
}
