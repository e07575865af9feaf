package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// policy is that of the demo types.
var policy = job.Policy{Attempts: 3, Lease: job.Seconds(Lease), Grace: job.Seconds(10 * time.Second),
	Retention: job.Seconds(time.Hour),
	Backoff:   job.Backoff{Initial: job.Seconds(200 * time.Millisecond), Factor: 2, Cap: job.Seconds(time.Minute)}}

// handWritten is a job as a gateway would make it, step by step.
type handWritten struct {
	w  *World
	id string
}

func (w *World) handWrite() handWritten {
	return handWritten{w, uuid.Must(uuid.NewV7()).String()}
}

func (h handWritten) request() event.Position { return h.dispatched(1) }

// dispatched is the request of a dispatch.
func (h handWritten) dispatched(dispatch int) event.Position {
	r := topic.Request{JobID: h.id, Job: "demo.echo", Lane: "default", Dispatch: dispatch, Attempt: dispatch,
		Tenant:      Tenant,
		PayloadHash: "sha256:00", Policy: policy, Time: time.Now()}
	headers, err := r.Headers()
	if err != nil {
		h.w.T.Fatal(err)
	}
	rec := &kgo.Record{Topic: h.w.Names.Requests("default"), Key: []byte(h.id), Value: []byte(`{"by":"hand"}`)}
	for _, header := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(header))
	}
	h.w.Produce(rec)
	return event.Position{Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset}
}

// isCreatedByItsClaim waits until a worker has claimed a request whose accepted event was lost. There is no
// such job before.
func (h handWritten) isCreatedByItsClaim(c *ackwire.Client) {
	h.w.T.Helper()
	h.w.eventually("the claim creates the job", func() bool {
		_, err := c.Job(h.id).Get(h.w.ctx())
		return err == nil
	})
}

func (h handWritten) accepted(request event.Position) {
	h.w.Event(&event.Event{Type: event.Accepted, JobID: h.id, Job: "demo.echo", Lane: "default", Tenant: Tenant,
		PayloadHash: "sha256:00", Policy: &policy, Request: &request})
}

// echoes returns a registration whose demo.echo counts its runs and takes a while.
func echoes(runs *Counter, takes time.Duration) func(*processor.Processor) {
	return func(p *processor.Processor) {
		processor.HandleRaw(p, "demo.echo", func(ctx context.Context, _ *processor.Job, payload []byte) (json.RawMessage,
			error) {
			runs.Add(1)
			if !pause.For(ctx, takes) {
				return nil, context.Cause(ctx)
			}
			return payload, nil
		})
	}
}

func TestAJobGoesFromASocketThroughKafkaAndBack(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `{"n":1}`)
		doc := w.WantEnd("an echo", c, j.ID, job.Completed, 1)
		if string(doc.Result) != `{"n":1}` {
			t.Errorf("result %s", doc.Result)
		}
		w.WantEnd("two failures", c, w.Submit(c, "demo.flaky", `{"failures":2}`).ID, job.Completed, 3)
		w.WantEnd("a permanent failure", c, w.Submit(c, "demo.fail", `{"message":"no"}`).ID, job.Failed, 1)
		w.WantEnd("a panic each time", c, w.Submit(c, "demo.panic", `{}`).ID, job.Failed, 3)
	})
}

func TestAGetAfterTheAckNeverAnswersNotFound(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		for i := range 50 {
			j := w.Submit(c, "demo.echo", fmt.Sprint(i), ackwire.NoWatch())
			if _, err := c.Job(j.ID).Get(w.ctx()); err != nil {
				t.Fatalf("get of an acked job: %v", err)
			}
		}
	})
}

func TestAcceptedIsLostAfterItsRequest(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		h := w.handWrite()
		h.request() // and the gateway dies
		c := w.Dial()
		h.isCreatedByItsClaim(c)
		w.WantEnd("the claim creates the job", c, h.id, job.Completed, 1)
	})
}

func TestAClaimOvertakesAccepted(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.StartWorker(echoes(&runs, 10*time.Second))
		h := w.handWrite()
		request := h.request()
		time.Sleep(time.Second) // the claim is folded by now
		h.accepted(request)
		c := w.Dial()
		w.WantEnd("accepted comes after the claim", c, h.id, job.Completed, 1)
		h.accepted(request)
		time.Sleep(time.Second)
		if s, err := c.Job(h.id).Get(w.ctx()); err != nil || s.State != job.Completed {
			t.Errorf("accepted after the end: %v %v", s.State, err)
		}
		if runs.Load() != 1 {
			t.Errorf("%d runs, want 1", runs.Load())
		}
	})
}

func TestADoubledRequestRunsOnce(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.StartWorker(echoes(&runs, 5*time.Second))
		h := w.handWrite()
		request := h.request()
		h.accepted(request)
		time.Sleep(time.Second)
		h.request() // the producer's second try had landed too
		c := w.Dial()
		w.WantEnd("a doubled request", c, h.id, job.Completed, 1)
		w.eventually("the second claim is refused", func() bool {
			return w.tracker.Count("ackwire_tracker_events_refused_total") > 0
		})
		time.Sleep(time.Minute)
		if runs.Load() != 1 {
			t.Errorf("%d runs, want 1", runs.Load())
		}
	})
}

func TestAWorkerDiesAndAnotherTakesOver(t *testing.T) {
	Run(t, func(w *World) {
		var first, second Counter
		victim := w.StartWorker(echoes(&first, time.Hour))
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("the job runs", func() bool { return first.Load() == 1 })
		w.StartWorker(echoes(&second, time.Second))
		w.Kill(victim)
		began := time.Now()
		w.WantEnd("the other worker takes it over", c, j.ID, job.Completed, 2)
		if took := time.Since(began); took > Lease+15*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestAZombiesLateWordChangesNothing(t *testing.T) {
	Run(t, func(w *World) {
		var first, second Counter
		zombie := w.StartWorker(echoes(&first, 45*time.Second))
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("the job runs", func() bool { return first.Load() == 1 })
		zombie.Host.Hang()
		w.StartWorker(echoes(&second, time.Second))
		w.WantEnd("the other worker takes it over", c, j.ID, job.Completed, 2)
		before, err := c.Job(j.ID).Get(w.ctx())
		if err != nil {
			t.Fatal(err)
		}
		zombie.Host.Heal()
		time.Sleep(2 * time.Minute)
		after, err := c.Job(j.ID).Get(w.ctx())
		if err != nil || after.Version != before.Version {
			t.Errorf("the zombie changed the job: version %d to %d, %v", before.Version, after.Version, err)
		}
		// What a zombie without our own clock would say.
		refused := w.refused("ended")
		w.Event(&event.Event{Type: event.Completed, JobID: j.ID, Dispatch: 1, Run: "zombie", Worker: "worker-1"})
		w.eventually("the late completed is counted", func() bool { return w.refused("ended") == refused+1 })
		if after, err = c.Job(j.ID).Get(w.ctx()); err != nil || after.Version != before.Version {
			t.Errorf("a late completed changed the job: version %d to %d, %v", before.Version, after.Version, err)
		}
	})
}

func TestAClaimWhoseAckIsLostIsSaidAgain(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		worker := w.StartWorker(echoes(&runs, time.Second))
		c := w.Dial()
		worker.Host.Deafen() // what it writes is appended, what it is told is lost
		j := w.Submit(c, "demo.echo", `1`)
		time.Sleep(8 * time.Second)
		worker.Host.Heal()
		if s, err := j.Wait(w.ctx()); err != nil || s.State != job.Completed {
			t.Errorf("job ended %s, %v", s.State, err)
		}
		if runs.Load() > 2 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestTheTrackerCrashesAndComesBack(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		var jobs []*ackwire.Job
		for i := range 40 {
			jobs = append(jobs, w.Submit(c, "demo.flaky", `{"failures":2}`),
				w.Submit(c, "demo.sleep", `{"seconds":3,"steps":5}`))
			if i%10 == 9 {
				w.CrashTracker()
				w.StartTracker()
			}
		}
		for _, j := range jobs {
			s, err := j.Wait(w.ctx())
			if err != nil || s.State != job.Completed {
				t.Errorf("job %s: %s %v", j.ID, s.State, err)
			}
		}
	})
}

func TestTheGatewayDiesAndClientsComeBack(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		j := w.Submit(c, "demo.sleep", `{"seconds":20,"steps":20}`)
		time.Sleep(2 * time.Second)
		w.Kill(w.gateway)
		time.Sleep(3 * time.Second)
		w.StartGateway()
		w.WantEnd("after the reconnect", c, j.ID, job.Completed, 1)
	})
}

func TestAPoliteStopReleasesAndCostsNoAttempt(t *testing.T) {
	Run(t, func(w *World) {
		var first, second Counter
		leaving := w.StartWorker(echoes(&first, time.Hour))
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `1`)
		w.eventually("the job runs", func() bool { return first.Load() == 1 })
		w.StartWorker(echoes(&second, time.Second))
		w.Stop(leaving)
		w.WantEnd("continued elsewhere", c, j.ID, job.Completed, 1)
	})
}

func TestAHundredSubmitsWithOneKeyMakeOneRequest(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.StartWorker(echoes(&runs, time.Second))
		c, d := w.Dial(), w.Dial()
		ids := make(chan string, 100)
		for i := range 100 {
			go func() {
				client := c
				if i%2 == 0 {
					client = d
				}
				j, err := client.Submit(w.ctx(), "demo.echo", json.RawMessage(`{"a":1,"b":2}`), ackwire.Key("order-7"))
				if err != nil {
					t.Error(err)
					ids <- ""
					return
				}
				ids <- j.ID
			}()
		}
		first := <-ids
		for range 99 {
			if id := <-ids; id != first {
				t.Errorf("job %s beside %s", id, first)
			}
		}
		w.WantEnd("one job", c, first, job.Completed, 1)
		if runs.Load() != 1 {
			t.Errorf("%d runs", runs.Load())
		}
		if n := len(w.records(w.Names.Requests("default"))); n != 1 {
			t.Errorf("%d requests", n)
		}
		_, err := c.Submit(w.ctx(), "demo.echo", json.RawMessage(`{"a":2}`), ackwire.Key("order-7"))
		if ackwire.CodeOf(err) != "idempotency_key_reused" {
			t.Errorf("another payload: %v", err)
		}
	})
}
