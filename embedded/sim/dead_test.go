package sim

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker"
	"github.com/ackwire/ackwire/tracker/dead"
)

// revive is what `ackwire dead requeue` does with a dead letter that was a request.
func (w *World) revive(r dead.Request) tracker.Revival {
	w.T.Helper()
	v, err := tracker.Revive(w.ctx(), func(opts ...kgo.Opt) (*kgo.Client, error) {
		return w.kafka().NewClient(w.env("operator", prometheus.NewRegistry()), "operator", opts...)
	}, w.Names, r)
	if err != nil {
		w.T.Fatal(err)
	}
	return v
}

// TestADeadRequestIsRequeued: an old worker could not read a job's request and put it among the dead
// letters. A copy that is written to its lane again must not run; the operator's requeue runs the job once.
func TestADeadRequestIsRequeued(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		c := w.Dial()
		j := w.Submit(c, "demo.echo", `{"n":1}`)
		accepted := w.last(j.ID, event.Accepted)
		request := *accepted.Request
		behind := make(kadm.Offsets)
		behind.AddOffset(request.Topic, request.Partition, request.Offset+1, -1)
		if err := kadm.NewClient(w.raw).CommitAllOffsets(w.ctx(), w.Names.ProcessorGroup("default"), behind); err != nil {
			t.Fatal(err)
		}
		worker := w.StartWorker(echoes(&runs, time.Second))
		for _, rec := range w.records(request.Topic) {
			w.Produce(&kgo.Record{
				Topic: rec.Topic, Partition: rec.Partition, Key: rec.Key, Value: rec.Value, Headers: rec.Headers,
			})
		}
		w.eventually("its copy is refused", func() bool { return w.refused("wrong_request") == 1 })
		time.Sleep(time.Minute)
		if s := w.get(c, j.ID); s.State != job.Pending {
			t.Fatalf("the job is %s", s.State)
		}
		runs.Store(0) // the copy may have begun and been stopped

		lost := dead.Request{JobID: j.ID, Life: accepted.Life, Position: request, At: time.Now()}
		if v := w.revive(lost); !v.Taken || v.Dispatch != 2 || v.State != job.Retrying {
			t.Fatalf("requeued: %+v", v)
		}
		if v := w.revive(lost); v.Taken || v.State == "" || v.State.Terminal() {
			t.Errorf("requeued twice: %+v", v)
		}
		w.WantEnd("handed out anew", c, j.ID, job.Completed, 1)
		if v := w.revive(lost); v.Taken || v.State != job.Completed {
			t.Errorf("requeued when it had ended: %+v", v)
		}
		time.Sleep(time.Minute)
		if n := runs.Load(); n != 1 {
			t.Errorf("%d runs", n)
		}
		w.Stop(worker)

		unknown := dead.Request{JobID: "nobody", Position: request, At: time.Now().Add(-time.Minute), Policy: &policy}
		if v := w.revive(unknown); v != (tracker.Revival{}) {
			t.Errorf("a young one of an unknown job: %+v", v)
		}
		unknown.At = time.Now().Add(-2 * policy.Retention.Duration())
		if v := w.revive(unknown); v != (tracker.Revival{Outlived: true}) {
			t.Errorf("an old one of an unknown job: %+v", v)
		}
	})
}

// TestALostRequestIsTheOneTheJobNames: what is said of another request of the job hands nothing out.
func TestALostRequestIsTheOneTheJobNames(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		c := w.Dial()
		h := w.handWrite()
		h.accepted(h.request())
		stray := h.request() // of a submit that was tried twice
		if v := w.revive(dead.Request{JobID: h.id, Position: stray, At: time.Now()}); v.Taken ||
			v.State != job.Pending {
			t.Errorf("the stray one: %+v", v)
		}
		w.StartWorker(echoes(&runs, time.Second))
		w.WantEnd("the job's own request is run", c, h.id, job.Completed, 1)
		for _, e := range w.log(h.id) {
			if e.Type == event.Requeued {
				t.Error("it was handed out anew")
			}
		}
	})
}
