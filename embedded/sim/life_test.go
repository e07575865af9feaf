package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// order cancels or retries a job and checks the answer.
func (w *World) order(what, id, state string) {
	w.T.Helper()
	status, _, b := w.HTTP("POST", "/v1/jobs/"+id+"/"+what, nil, nil)
	var ack frame.AckFrame
	if err := json.Unmarshal(b, &ack); err != nil || status != http.StatusAccepted || ack.State != state {
		w.T.Errorf("%s: %d %s, want state %s", what, status, b, state)
	}
}

func (w *World) get(c *ackwire.Client, id string) ackwire.Status {
	w.T.Helper()
	s, err := c.Job(id).Get(w.ctx())
	if err != nil {
		w.T.Fatal(err)
	}
	return s
}

// seconds are how long something took, in virtual time.
func within(t *testing.T, what string, took, low, high time.Duration) {
	t.Helper()
	if took < low || took > high {
		t.Errorf("%s took %s, want %s to %s", what, took, low, high)
	}
}

func TestCancelBeforeItStarts(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.order("cancel", j.ID, "cancelled")
		w.StartWorker(echoes(&runs, time.Second))
		time.Sleep(time.Minute)
		if s := w.get(c, j.ID); s.State != job.Cancelled || len(s.Attempts) != 0 {
			t.Errorf("%s, attempts %v", s.State, s.Attempts)
		}
		if status, _, b := w.HTTP("POST", "/v1/jobs/"+j.ID+"/cancel", nil, nil); status != http.StatusConflict ||
			!strings.Contains(string(b), "invalid_state") {
			t.Errorf("a second cancel: %d %s", status, b)
		}
	})
}

func TestCancelWhileItRuns(t *testing.T) {
	Run(t, func(w *World) {
		ended := make(chan error, 1)
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(ctx context.Context, _ *processor.Job, _ []byte) (json.RawMessage, error) {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				time.Sleep(500 * time.Millisecond) // the answer to the cancel may tell of the end, if it comes first
				return nil, ctx.Err()
			})
		})
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("it runs", func() bool { return w.get(c, j.ID).State == job.Processing })
		began := time.Now()
		w.order("cancel", j.ID, "processing")
		if s := w.get(c, j.ID); !s.CancelRequested {
			t.Error("cancelRequested is not visible")
		}
		if cause := <-ended; !errors.Is(cause, processor.ErrCancelled) {
			t.Errorf("the handler's context ended with %v", cause)
		}
		doc := w.WantEnd("cancelled by its worker", c, j.ID, job.Cancelled, 1)
		within(t, "the cancel", time.Since(began), 0, 2*time.Second)
		if a := doc.Attempts; len(a) != 1 || a[0].Outcome != job.OutcomeCancelled {
			t.Errorf("attempts %+v", a)
		}
	})
}

// TestACancelIsForced: the handler ignores the cancel, and its late outcome changes nothing.
func TestACancelIsForced(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
				time.Sleep(time.Minute)
				return json.RawMessage(`"late"`), nil
			})
		})
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("it runs", func() bool { return w.get(c, j.ID).State == job.Processing })
		began := time.Now()
		w.order("cancel", j.ID, "processing")
		doc := w.WantEnd("forced after the grace period", c, j.ID, job.Cancelled, 1)
		within(t, "the force", time.Since(began), 10*time.Second, 13*time.Second)
		time.Sleep(2 * time.Minute)
		if s := w.get(c, j.ID); s.State != job.Cancelled || s.Result != nil {
			t.Errorf("after the late word: %s %s", s.State, s.Result)
		}
		if a := doc.Attempts; len(a) != 1 || a[0].Outcome != job.OutcomeCancelled {
			t.Errorf("attempts %+v", a)
		}
	})
}

func TestRetryByID(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(_ context.Context, j *processor.Job, payload []byte) (json.RawMessage,
				error) {
				if runs.Add(1); runs.Load() < 3 {
					return nil, processor.Permanent(errors.New("not yet"))
				}
				return payload, nil
			})
		})
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `{"kept":true}`)
		w.WantEnd("fails for good", c, j.ID, job.Failed, 1)
		w.order("retry", j.ID, "retrying")
		w.WantEnd("again", c, j.ID, job.Failed, 2)
		w.order("retry", j.ID, "retrying")
		doc := w.WantEnd("and then not", c, j.ID, job.Completed, 3)
		if string(doc.Result) != `{"kept":true}` {
			t.Errorf("the stored payload came out as %s", doc.Result)
		}
		if len(doc.Attempts) != 3 || doc.Attempts[1].Error == nil || doc.Attempts[2].Outcome != job.OutcomeCompleted ||
			doc.MaxAttempts != 5 {
			t.Errorf("attempts %+v of %d", doc.Attempts, doc.MaxAttempts)
		}
		requests := len(w.records(w.Names.Requests("default")))
		if requests != 3 {
			t.Errorf("%d requests for 3 attempts", requests)
		}
	})
}

func TestScheduleAndCancelIt(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		due := time.Now().Add(30 * time.Minute).Truncate(time.Millisecond)
		j := w.Submit(c, "demo.echo", `1`, ackwire.RunAt(due))
		never := w.Submit(c, "demo.echo", `2`, ackwire.RunAt(due))
		if s := w.get(c, j.ID); s.State != job.Scheduled || s.RunAt == nil || !s.RunAt.Equal(due) {
			t.Errorf("%s, runAt %v, want %s", s.State, s.RunAt, due)
		}
		w.order("cancel", never.ID, "cancelled")
		time.Sleep(time.Until(due) - time.Minute)
		if n := len(w.records(w.Names.Requests("default"))); n != 0 {
			t.Errorf("%d requests are with workers before they are due", n)
		}
		doc := w.WantEnd("runs when due", c, j.ID, job.Completed, 1)
		within(t, "the start after runAt", doc.StartedAt.Sub(due), 0, time.Second)
	})
}

func TestTheTrackerIsAwayWhenAJobIsDue(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`, ackwire.RunAt(time.Now().Add(time.Minute)))
		time.Sleep(2 * time.Second)
		w.CrashTracker()
		time.Sleep(5 * time.Minute)
		w.StartTracker()
		w.WantEnd("late, but it runs", c, j.ID, job.Completed, 1)
	})
}

// TestBoundsHoldWithoutAWorker: deadline and timeout are the tracker's to enforce.
func TestBoundsHoldWithoutAWorker(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		began := time.Now()
		j := w.Submit(c, "demo.echo", `1`, ackwire.Deadline(20*time.Second))
		doc := w.WantEnd("never started", c, j.ID, job.Failed, 1)
		within(t, "the deadline", time.Since(began), 20*time.Second, 22*time.Second)
		if doc.Error == nil || doc.Error.Code != job.CodeDeadlineExceeded || doc.Error.Retryable {
			t.Errorf("error %+v", doc.Error)
		}

		var runs Counter
		worker := w.StartWorker(echoes(&runs, time.Hour))
		j = w.Submit(c, "demo.echo", `1`, ackwire.Timeout(5*time.Second))
		w.eventually("it runs", func() bool { return runs.Load() == 1 })
		w.Kill(worker) // no worker is left to end the attempt
		w.eventually("the attempt timed out", func() bool {
			return w.get(c, j.ID).State == job.Retrying || w.get(c, j.ID).State == job.Pending
		})
		a := w.get(c, j.ID).Attempts
		if len(a) != 1 || a[0].Outcome != job.OutcomeTimedOut {
			t.Fatalf("attempts %+v", a)
		}
		within(t, "the timeout", a[0].EndedAt.Sub(a[0].StartedAt), 5*time.Second, 7*time.Second)
	})
}

// TestCrashes: however a worker goes, the next attempt starts within the lease and 2 s, and
// one outcome is recorded, whatever the first one says when it comes back.
func TestCrashes(t *testing.T) {
	duringRebalances(t)
	for name, fault := range map[string]func(*World, *Process){
		"kill -9":       func(w *World, p *Process) { w.Kill(p) },
		"hang":          func(_ *World, p *Process) { p.Host.Hang() },
		"partition":     func(_ *World, p *Process) { p.Host.Cut() },
		"deaf":          func(_ *World, p *Process) { p.Host.Deafen() }, // its beats arrive, their acks do not
		"a long pause":  func(_ *World, p *Process) { p.Host.Hang(); time.Sleep(Lease + 5*time.Second); p.Host.Heal() },
		"a short pause": func(_ *World, p *Process) { p.Host.Hang(); time.Sleep(Lease / 4); p.Host.Heal() },
	} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(w *World) {
				var first, second Counter
				victim := w.StartWorker(echoes(&first, 100*time.Second))
				c := w.Dial()
				j := w.Submit(c, "demo.echo", `1`)
				w.eventually("the job runs", func() bool { return first.Load() == 1 })
				w.StartWorker(echoes(&second, 100*time.Second))
				time.Sleep(20 * time.Second) // the group settles, the lease is renewed
				at := time.Now()
				fault(w, victim)
				if name == "a short pause" {
					w.WantEnd("the lease outlives it", c, j.ID, job.Completed, 1)
					return
				}
				doc := w.WantEnd("another worker takes it over", c, j.ID, job.Completed, 2)
				if a := doc.Attempts; len(a) != 2 || a[0].Outcome != job.OutcomeLost || a[1].Outcome != job.OutcomeCompleted {
					t.Errorf("attempts %+v", a)
				} else if name != "deaf" { // its lease ends when it has not heard of it for as long
					within(t, "the next attempt", a[1].StartedAt.Sub(at), 0, Lease+2*time.Second)
				}
				victim.Host.Heal()
				time.Sleep(5 * time.Minute)
				if s := w.get(c, j.ID); s.State != job.Completed || len(s.Attempts) != 2 || s.UpdatedAt != doc.UpdatedAt {
					t.Errorf("after it came back: %s, %+v", s.State, s.Attempts)
				}
				if second.Load() != 1 {
					t.Errorf("the second worker ran it %d times", second.Load())
				}
			})
		})
	}
}

func TestAttemptsAreSpent(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		for range 3 { // each worker dies with the job
			var runs Counter
			worker := w.StartWorker(echoes(&runs, time.Hour))
			w.eventually("the job runs", func() bool { return runs.Load() == 1 })
			w.Kill(worker)
			time.Sleep(Lease + 5*time.Second)
		}
		doc := w.WantEnd("three workers died of it", c, j.ID, job.Failed, 3)
		if doc.Error == nil || doc.Error.Code != job.CodeWorkerLost || len(doc.Attempts) != 3 {
			t.Errorf("error %+v, attempts %+v", doc.Error, doc.Attempts)
		}
	})
}

// TestRollingRestarts: ten deploys of two workers under load burn no attempt and lose no job.
func TestRollingRestarts(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		var runs Counter
		slow := func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(ctx context.Context, _ *processor.Job, payload []byte) (json.RawMessage,
				error) {
				runs.Add(1)
				if !pause.For(ctx, 7*time.Second) {
					return nil, context.Cause(ctx)
				}
				return payload, nil
			})
		}
		workers := []*Process{w.StartWorker(slow), w.StartWorker(slow)}
		c := w.Dial()
		var jobs []*ackwire.Job
		for i := range 10 {
			for range 10 {
				jobs = append(jobs, w.Submit(c, "demo.echo", fmt.Sprint(i)))
			}
			w.Stop(workers[i%2])
			workers[i%2] = w.StartWorker(slow)
			time.Sleep(time.Second)
		}
		for _, j := range jobs {
			w.WantEnd("through the deploys", c, j.ID, job.Completed, 1)
		}
		if int(runs.Load()) <= len(jobs) {
			t.Error("no run was released: the test proves nothing")
		}
	})
}

// TestAFloodOnOneLane leaves the other's latency flat.
func TestAFloodOnOneLane(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		latency := func() (worst time.Duration) {
			for range 10 {
				began := time.Now()
				w.WantEnd("a quick job", c, w.Submit(c, "demo.echo", `1`).ID, job.Completed, 1)
				worst = max(worst, time.Since(began))
			}
			return worst
		}
		quiet := latency()
		var flood []string
		for range 200 {
			flood = append(flood, w.Submit(c, "report.generate", `{"reportType":"sales","from":"2026-01-01","to":"2026-12-31"}`,
				ackwire.NoWatch()).ID)
		}
		if loud := latency(); loud > quiet+50*time.Millisecond {
			t.Errorf("a quick job took %s beside the flood, %s without", loud, quiet)
		}
		for _, id := range flood {
			w.WantEnd("the flood ends", c, id, job.Completed, 1)
		}
	})
}

// TestAJobOfTwoHours goes through three deploys of its worker and two crashes of the tracker.
func TestAJobOfTwoHours(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		var runs, ended Counter
		long := func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage,
				error) {
				runs.Add(1)
				for range 120 {
					if !pause.For(ctx, time.Minute) {
						return nil, context.Cause(ctx)
					}
					j.Progress(1, "still at it")
				}
				ended.Add(1)
				return payload, nil
			})
		}
		worker := w.StartWorker(long)
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `"done"`)
		for i := range 3 {
			time.Sleep(10 * time.Minute)
			next := w.StartWorker(long)
			w.Stop(worker)
			worker = next
			if i < 2 {
				w.CrashTracker()
				time.Sleep(5 * time.Second)
				w.StartTracker()
			}
		}
		doc := w.WantEnd("through three deploys and two crashes", c, j.ID, job.Completed, 1)
		if ended.Load() != 1 || runs.Load() != 4 || len(doc.Attempts) != 4 ||
			doc.Attempts[3].Outcome != job.OutcomeCompleted {
			t.Errorf("%d runs, %d of them to the end: %+v", runs.Load(), ended.Load(), doc.Attempts)
		}
	})
}

// TestARebalanceStorm: a worker joins and leaves every second for a minute.
func TestARebalanceStorm(t *testing.T) {
	duringRebalances(t)
	Run(t, func(w *World) {
		var runs, others Counter
		w.StartWorker(echoes(&runs, 2*time.Minute))
		c := w.Dial()
		var jobs []*ackwire.Job
		for i := range 20 {
			jobs = append(jobs, w.Submit(c, "demo.echo", fmt.Sprint(i)))
		}
		w.eventually("all of them run", func() bool { return runs.Load() == int64(len(jobs)) })
		for range 30 {
			guest := w.StartWorker(echoes(&others, time.Second))
			time.Sleep(time.Second)
			w.Stop(guest)
			time.Sleep(time.Second)
		}
		for _, j := range jobs {
			doc := w.WantEnd("nobody was interrupted", c, j.ID, job.Completed, 1)
			if len(doc.Attempts) != 1 {
				t.Errorf("attempts %+v", doc.Attempts)
			}
		}
		if runs.Load() != int64(len(jobs)) || others.Load() != 0 {
			t.Errorf("%d runs, %d of them by guests", runs.Load()+others.Load(), others.Load())
		}
	})
}

// TestClocksThatAreWrong: what a client writes as a record's time does not matter.
func TestClocksThatAreWrong(t *testing.T) {
	for _, off := range []time.Duration{-time.Hour, time.Hour} {
		Run(t, func(w *World) {
			c := w.Dial()
			h := w.handWrite()
			request := h.request()
			h.accepted(request)
			client, err := kgo.NewClient(kgo.SeedBrokers(brokerAddr), kgo.Dialer(w.Net.Host("wrong-clock").Dial))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			say := func(e event.Event) {
				t.Helper()
				e.JobID = h.id
				e.Dispatch = 1
				e.Run = "wrong-clock"
				e.Worker = "wrong-clock"
				value, err := event.Encode(&e)
				if err != nil {
					t.Fatal(err)
				}
				if err := client.ProduceSync(w.ctx(), &kgo.Record{Topic: w.Names.Status(), Key: []byte(h.id), Value: value,
					Timestamp: time.Now().Add(off)}).FirstErr(); err != nil {
					t.Fatal(err)
				}
			}
			say(event.Event{
				Type: event.Claimed, Job: "demo.echo", Lane: "default", Tenant: Tenant, PayloadHash: "sha256:00",
				Policy: &policy, Request: &request,
			})
			for range 5 {
				time.Sleep(Lease * 2 / 3)
				say(event.Event{Type: event.Beat})
			}
			if s := w.get(c, h.id); s.State != job.Processing || time.Since(*s.StartedAt) > 3*time.Minute+time.Hour/2 {
				t.Errorf("clock %s: %s, started %s ago", off, s.State, time.Since(*s.StartedAt))
			}
			time.Sleep(Lease + 2*time.Second)
			if s := w.get(c, h.id); s.State == job.Processing || s.Attempts[0].Outcome != job.OutcomeLost {
				t.Errorf("clock %s: after a lease of silence it is %s", off, s.State)
			}
		})
	}
}

// TestNoRunGoesOnForNothing: past its deadline, and at a higher dispatch, the handler's context ends.
func TestNoRunGoesOnForNothing(t *testing.T) {
	Run(t, func(w *World) {
		ended := make(chan error, 1)
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(ctx context.Context, _ *processor.Job, _ []byte) (json.RawMessage, error) {
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, ctx.Err()
			})
		})
		c := w.Dial()
		began := time.Now()
		j := w.Submit(c, "demo.echo", `1`, ackwire.Deadline(10*time.Second))
		if cause := <-ended; !errors.Is(cause, processor.ErrStopped) {
			t.Errorf("past its deadline: %v", cause)
		}
		within(t, "the end of the run", time.Since(began), 10*time.Second, 12*time.Second)
		w.WantEnd("past its deadline", c, j.ID, job.Failed, 1)

		j = w.Submit(c, "demo.echo", `1`)
		w.eventually("it runs", func() bool { return w.get(c, j.ID).State == job.Processing })
		claimed := w.last(j.ID, event.Claimed)
		began = time.Now()
		// as if it had said so
		w.Event(&event.Event{Type: event.Released, JobID: j.ID, Dispatch: 1, Run: claimed.Run, Worker: claimed.Worker})
		if cause := <-ended; !errors.Is(cause, processor.ErrStopped) {
			t.Errorf("at a higher dispatch: %v", cause)
		}
		within(t, "the end of the old run", time.Since(began), 0, Lease/3+2*time.Second)
	})
}
