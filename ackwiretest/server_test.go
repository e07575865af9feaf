package ackwiretest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type greeting struct {
	Name string `json:"name"`
}

type reply struct {
	Text string `json:"text"`
}

var greet = ackwire.Type[greeting, reply]("greet")

// clients runs the same script twice: with a client over a socket, and with one over HTTP.
func clients(t *testing.T, run func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter)) {
	t.Helper()
	t.Run("socket", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := ackwiretest.New(t)
			run(t, srv, srv.Dial(t))
		})
	})
	t.Run("http", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			srv := ackwiretest.New(t)
			run(t, srv, srv.NewHTTP(t))
		})
	})
}

// within returns a context that ends after d.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// An ack says how many jobs of its type wait before the new one, and an estimate only where it is known.
func TestWhatIsAhead(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx := within(t, time.Minute)
		ackwiretest.Handle(srv, greet, func(context.Context, *ackwiretest.Job, greeting) (reply, error) {
			return reply{}, nil
		})
		submit := func(jobType string, opts ...ackwire.SubmitOption) (ahead int64, estimate time.Duration) {
			t.Helper()
			j, err := client.Submit(ctx, jobType, greeting{}, opts...)
			if err != nil {
				t.Fatal(err)
			}
			ahead, estimate = -1, -1
			if j.Ahead != nil {
				ahead = *j.Ahead
			}
			if j.Estimate != nil {
				estimate = *j.Estimate
			}
			return ahead, estimate
		}
		for want := range int64(3) { // nobody works on it
			if ahead, estimate := submit("slow"); ahead != want || estimate != -1 {
				t.Errorf("%d jobs ahead in %s, want %d and no estimate", ahead, estimate, want)
			}
		}
		if ahead, estimate := submit(greet.Name()); ahead != 0 || estimate != 0 {
			t.Errorf("%d jobs ahead in %s of a job that starts at once", ahead, estimate)
		}
		if ahead, _ := submit("slow", ackwire.RunAt(time.Now().Add(time.Hour))); ahead != -1 {
			t.Errorf("%d jobs ahead of one that is scheduled", ahead)
		}
	})
}

func TestHandlers(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ackwiretest.Handle(srv, greet, func(_ context.Context, j *ackwiretest.Job, in greeting) (reply, error) {
			if in.Name == "" {
				return reply{}, &ackwiretest.Failure{Code: "nobody", Message: "no name"}
			}
			if j.Attempt < 3 && in.Name == "late" {
				return reply{}, errors.New("not yet")
			}
			return reply{Text: "hello " + in.Name}, nil
		})
		ctx := within(t, time.Minute)
		for _, name := range []string{"ada", "late"} {
			j, err := greet.Submit(ctx, client, greeting{Name: name}, ackwire.Key(name))
			if err != nil {
				t.Fatal(err)
			}
			if out, err := j.Result(ctx); err != nil || out.Text != "hello "+name {
				t.Errorf("%s: %+v, %v", name, out, err)
			}
			if again, err := greet.Submit(ctx, client, greeting{Name: name}, ackwire.Key(name)); err != nil ||
				again.ID != j.ID || !again.Duplicate {
				t.Errorf("the same key again: %+v, %v", again, err)
			}
			if out, err := greet.Job(client, j.ID).Result(ctx); err != nil || out.Text != "hello "+name {
				t.Errorf("by its ID: %+v, %v", out, err)
			}
		}
		if _, err := greet.Submit(ctx, client, greeting{Name: "eve"}, ackwire.Key("ada")); ackwire.CodeOf(
			err) != code.IdempotencyKeyReused {
			t.Errorf("the key with another payload: %v", err)
		}
		j, err := greet.Submit(ctx, client, greeting{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Result(ctx)
		if e, ok := errors.AsType[*ackwire.JobError](err); !ok || e.State != job.Failed || e.Code != "nobody" ||
			e.Message != "no name" || e.JobID != j.ID || e.Attempt != 1 {
			t.Errorf("a failed job: %#v", err)
		}
		srv.Expire(j.ID)
		_, err = greet.Job(client, j.ID).Result(ctx)
		if e, ok := errors.AsType[*ackwire.JobError](err); !ok || e.State != "" || !errors.Is(err, ackwire.ErrNotFound) {
			t.Errorf("a job that has expired: %#v", err)
		}
	})
}

// watched runs a watch in a goroutine beside the test and returns what it yields.
func watched(ctx context.Context, j *ackwire.Job, opts ...ackwire.WatchOption) <-chan string {
	out := make(chan string, 1)
	go func() {
		var seen []string
		var last int64
		for st, err := range j.Watch(ctx, opts...) {
			switch {
			case err != nil:
				seen = append(seen, err.Error())
				continue
			case st.Version <= last:
				seen = append(seen, fmt.Sprintf("version %d after %d", st.Version, last))
			}
			last = st.Version
			text := string(st.State)
			if st.Progress != nil && !st.State.Terminal() {
				text += fmt.Sprintf(" %v", st.Progress.Percent)
			}
			seen = append(seen, text)
		}
		out <- strings.Join(seen, ", ")
	}()
	return out
}

func TestManualSteps(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx := within(t, time.Hour)
		j, err := client.Submit(ctx, "report", map[string]int{"n": 1})
		if err != nil || j.State != job.Pending {
			t.Fatalf("%+v, %v", j, err)
		}
		w := watched(ctx, j)
		synctest.Wait()
		at := srv.Next(t, "report")
		var payload struct{ N int }
		if err := at.Decode(&payload); err != nil || payload.N != 1 || at.ID != j.ID || at.Attempt != 1 {
			t.Errorf("%+v, %v", at, err)
		}
		synctest.Wait()
		at.Progress(50, "half")
		at.Progress(20, "percents never fall")
		synctest.Wait()
		srv.Cut() // the watch goes on
		time.Sleep(10 * time.Second)
		at.FailAttempt("busy", "try again")
		time.Sleep(time.Second)
		next := srv.Next(t)
		at.Complete("of an attempt that is over")
		next.CompleteFile("a.csv", "text/csv", []byte("1,2\n"))
		if got := <-w; !strings.HasPrefix(got, "pending, processing, processing 50") || !strings.HasSuffix(got, "completed") {
			t.Errorf("watched %s", got)
		}
		r, err := j.Result(ctx)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil || string(b) != "1,2\n" || r.Name != "a.csv" ||
			r.ContentType != "text/csv" {
			t.Errorf("%q, %+v, %v", b, r, err)
		}
		if st, err := j.Get(ctx); err != nil || st.Attempt != 2 || len(st.Attempts) != 2 ||
			st.Attempts[0].Error.Code != "busy" {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// TestStagesAndData: a client sees what the worker says, and a stage or data that is not valid is not reported.
func TestStagesAndData(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx := within(t, time.Hour)
		j, err := client.Submit(ctx, "report", 1)
		if err != nil {
			t.Fatal(err)
		}
		at := srv.Next(t)
		for _, step := range []struct {
			say  job.Progress
			want string // "" for an error
		}{
			{job.Progress{Percent: 40, Stage: "collect", Data: json.RawMessage(`{ "rows": 9007199254740993 }`)},
				`{"percent":40,"stage":"collect","data":{"rows":9007199254740993}}`},
			{job.Progress{Percent: 50, Stage: "Render it"}, ""},
			{job.Progress{Percent: 50, Data: json.RawMessage(`"` + strings.Repeat("x", job.MaxProgressData) + `"`)}, ""},
			{job.Progress{Percent: 30, Stage: "render", Current: 1, Total: 2, Omitted: []string{"data"}},
				`{"percent":40,"current":1,"total":2,"stage":"render"}`},
		} {
			err := at.Advance(step.say)
			if step.want == "" {
				if f, ok := errors.AsType[*ackwiretest.Failure](err); !ok || f.Code != "invalid_progress" || f.Retryable {
					t.Errorf("%.100v: %v", step.say, err)
				}
				continue
			}
			st, getErr := j.Get(ctx)
			got, encodeErr := plainjson.Marshal(st.Progress)
			if err := errors.Join(err, getErr, encodeErr); err != nil || string(got) != step.want {
				t.Errorf("%s, %v, want %s", got, err, step.want)
			}
		}
		at.Progress(60, "an older handler")
		if st, err := j.Get(ctx); err != nil || st.Progress.Stage != "" || st.Progress.Percent != 60 {
			t.Errorf("%+v, %v", st.Progress, err)
		}
	})
}

func TestCancelRetryAndTimes(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx := within(t, 100*time.Hour)
		submit := func(opts ...ackwire.SubmitOption) *ackwire.Job {
			t.Helper()
			j, err := client.Submit(ctx, "slow", 1, opts...)
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		j := submit()
		if state, err := j.Cancel(ctx); err != nil || state != job.Cancelled {
			t.Errorf("cancel of a pending job: %s, %v", state, err)
		}
		if _, err := j.Cancel(ctx); ackwire.CodeOf(err) != code.InvalidState {
			t.Errorf("cancel of an ended job: %v", err)
		}
		if state, err := j.Retry(ctx); err != nil || state != job.Retrying {
			t.Errorf("retry: %s, %v", state, err)
		}
		synctest.Wait()      // the next attempt is due at once
		w := watched(ctx, j) // of the new round, though this handle knows the end of the one before
		synctest.Wait()
		at := srv.Next(t)
		if at.Attempt != 2 {
			t.Errorf("attempt %d", at.Attempt)
		}
		if _, err := j.Retry(ctx); ackwire.CodeOf(err) != code.InvalidState {
			t.Errorf("retry of a running job: %v", err)
		}
		if state, err := j.Cancel(ctx); err != nil || state != job.Processing {
			t.Errorf("cancel of a running job: %s, %v", state, err)
		}
		<-at.Cancelled()
		synctest.Wait()
		at.Fail("stopped", "as told")
		if got := <-w; got != "pending, processing, processing, cancelled" {
			t.Errorf("watched after the retry: %s", got)
		}
		if st, err := j.Wait(ctx); err != nil || st.State != job.Cancelled {
			t.Errorf("%+v, %v", st, err)
		}

		began := time.Now()
		j = submit(ackwire.RunAt(began.Add(24*time.Hour)), ackwire.Timeout(time.Minute), ackwire.Deadline(26*time.Hour))
		if j.State != job.Scheduled {
			t.Errorf("state %s", j.State)
		}
		srv.Handle("slow", func(ctx context.Context, _ *ackwiretest.Job) (any, error) {
			<-ctx.Done() // each attempt takes longer than its timeout
			return nil, ctx.Err()
		})
		st, err := j.Wait(ctx)
		took := time.Since(began).Round(time.Minute)
		if err != nil || st.State != job.Failed || st.Error.Code != job.CodeTimeout || len(st.Attempts) != 3 ||
			took != 24*time.Hour+3*time.Minute {
			t.Errorf("after %s: %+v, %v", took, st, err)
		}
		j = submit(ackwire.Deadline(time.Hour))
		if st, err := j.Wait(ctx); err != nil || st.State != job.Failed || st.Error.Code != job.CodeDeadlineExceeded {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

func TestFaults(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx := within(t, time.Hour)
		srv.Refuse(1, code.Overloaded)
		if _, err := client.Submit(ctx, "a", 1); ackwire.CodeOf(err) != code.Overloaded {
			t.Errorf("refused: %v", err)
		}
		srv.Refuse(2, code.Indeterminate)
		if _, err := client.Submit(ctx, "a", 1, ackwire.NoKey()); !errors.Is(err, ackwire.ErrIndeterminate) {
			t.Errorf("indeterminate: %v", err)
		}
		if _, err := client.Submit(ctx, "a", 1, ackwire.Key("k")); err != nil {
			t.Errorf("indeterminate, with a key: %v", err)
		}
		srv.LoseAcks(2)
		if _, err := client.Submit(ctx, "a", 1, ackwire.NoKey()); !errors.Is(err, ackwire.ErrIndeterminate) {
			t.Errorf("a lost ack: %v", err)
		}
		if j, err := client.Submit(ctx, "a", 1, ackwire.Key("l")); err != nil || !j.Duplicate {
			t.Errorf("a lost ack, with a key: %+v, %v", j, err)
		}
		srv.DelayAcks(30 * time.Second)
		began := time.Now()
		if _, err := client.Submit(ctx, "a", 1); err != nil || time.Since(began) != 30*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		srv.DelayAcks(0)
		srv.Types("a")
		if _, err := client.Submit(ctx, "b", 1); ackwire.CodeOf(err) != code.UnknownJobType {
			t.Errorf("another type: %v", err)
		}
		j, err := client.Submit(ctx, "a", 1)
		if err != nil {
			t.Fatal(err)
		}
		w := watched(ctx, j)
		synctest.Wait()
		srv.Down()
		time.Sleep(time.Minute)
		srv.Up()
		time.Sleep(time.Minute)
		for range 5 { // those of above, and this one
			srv.Next(t).Complete(nil)
		}
		if got := <-w; !strings.HasPrefix(got, "pending, ") || !strings.HasSuffix(got, "completed") {
			t.Errorf("watched %s", got)
		}
	})
}

func TestSocketsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		c := srv.Dial(t)
		srv.Goaway(time.Second)
		time.Sleep(time.Minute)
		if n := c.ConnStats(); n.Goaways != 1 || n.Connects != 2 || srv.Sockets() != 1 {
			t.Errorf("%+v, %d sockets", n, srv.Sockets())
		}
		srv.CloseSockets(code.CloseSlowConsumer)
		time.Sleep(time.Minute)
		if n := c.ConnStats(); n.Connects != 3 {
			t.Errorf("%+v", n)
		}
		srv.RequireToken("good")
		if _, err := ackwire.Dial(t.Context(), srv.URL(), srv.Option(), ackwire.WithToken("bad")); ackwire.CodeOf(
			err) != code.Unauthenticated {
			t.Errorf("a bad token: %v", err)
		}
		srv.Dial(t, ackwire.WithToken("good"))
		srv.CloseSockets(code.CloseSessionLimit)
		<-c.Done()
		if e, ok := errors.AsType[*ackwire.CloseError](c.Err()); !ok || e.Code != code.CloseSessionLimit {
			t.Errorf("%v", c.Err())
		}
	})
}

func TestMineAndLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		c, api := srv.Dial(t), srv.NewHTTP(t)
		ctx, stop := context.WithCancel(t.Context())
		seen := make(chan string, 1)
		go func() {
			last := map[string]job.State{}
			for st, err := range c.WatchMine(ctx) {
				if err == nil {
					last[st.JobID] = st.State
				}
			}
			seen <- fmt.Sprint(len(last), last)
		}()
		synctest.Wait()
		srv.Handle("a", func(context.Context, *ackwiretest.Job) (any, error) { return 1, nil })
		var want = map[string]job.State{}
		for i := range 7 {
			j, err := api.Submit(t.Context(), string(rune('a'+i%2)), i)
			if err != nil {
				t.Fatal(err)
			}
			want[j.ID] = []job.State{job.Completed, job.Pending}[i%2]
			if i == 3 {
				srv.Cut() // what changes meanwhile is told afterwards
			}
		}
		time.Sleep(time.Minute)
		stop()
		if got := <-seen; got != fmt.Sprint(len(want), want) {
			t.Errorf("got  %s\nwant %v", got, want)
		}
		n := 0
		for st, err := range api.All(t.Context(), ackwire.ListOptions{States: []job.State{job.Completed}, Limit: 2}) {
			if err != nil || st.Type != "a" {
				t.Errorf("%+v, %v", st, err)
			}
			n++
		}
		if n != 4 {
			t.Errorf("%d jobs are completed", n)
		}
		if _, err := api.List(t.Context(), ackwire.ListOptions{Cursor: "!"}); ackwire.CodeOf(err) != code.InvalidFrame {
			t.Errorf("a cursor that is none: %v", err)
		}
		stats, err := c.Stats(t.Context())
		if err != nil || len(stats.Counts) != 2 || stats.Counts[0].Jobs != 4 || stats.Lanes[0].Waiting != 3 {
			t.Errorf("%+v, %v", stats, err)
		}
	})
}

// A watch that begins at a lower version than another one gets all versions that it asked for.
func TestWatchesOfOneJob(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		c, ctx := srv.Dial(t), within(t, time.Minute)
		j, err := c.Submit(ctx, "a", 1, ackwire.NoWatch())
		if err != nil {
			t.Fatal(err)
		}
		late := watched(ctx, c.Job(j.ID), ackwire.After(1))
		synctest.Wait()
		all := watched(ctx, c.Job(strings.ToUpper(j.ID)))
		synctest.Wait()
		srv.Next(t).Complete(nil)
		if got := <-all; !strings.HasPrefix(got, "pending, ") || !strings.HasSuffix(got, "completed") {
			t.Errorf("all: %s", got)
		}
		if got := <-late; strings.Contains(got, "pending") || !strings.HasSuffix(got, "completed") {
			t.Errorf("behind version 1: %s", got)
		}
	})
}

// The server also works behind a real port, for a program that can be configured only with a URL.
func TestBehindAPort(t *testing.T) {
	srv := ackwiretest.New(t)
	ts := httptest.NewServer(srv)
	defer ts.Close()
	ctx := within(t, time.Minute)
	c, err := ackwire.Dial(ctx, ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ackwiretest.Handle(srv, greet, func(_ context.Context, _ *ackwiretest.Job, in greeting) (reply, error) {
		return reply{Text: in.Name}, nil
	})
	j, err := greet.Submit(ctx, c, greeting{Name: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := j.Result(ctx); err != nil || out.Text != "ada" {
		t.Errorf("%+v, %v", out, err)
	}
}
