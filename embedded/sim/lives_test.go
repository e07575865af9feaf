package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// expire waits until a job is forgotten.
func (w *World) expire(c *ackwire.Client, id string) {
	w.T.Helper()
	w.eventually("job "+id+" expires", func() bool {
		_, err := c.Job(id).Get(w.ctx())
		var p *ackwire.Error
		return errors.As(err, &p) && p.Code == code.NotFound
	})
}

// submitKeyed submits a demo.echo over HTTP, once.
func (w *World) submitKeyed(key, payload string) (status int, jobID string) {
	w.T.Helper()
	status, _, b := w.HTTP("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}},
		fmt.Appendf(nil, `{"job":"demo.echo","payload":%s}`, payload))
	var ack frame.AckFrame
	if err := json.Unmarshal(b, &ack); err != nil {
		w.T.Fatalf("submit: %d %s", status, b)
	}
	return status, ack.JobID
}

// TestAnIDUsedAgain: an idempotency key whose job has expired makes a new job of the same ID, with
// the same payload. What the former job leaves is removed; what is this one's stays, whenever the
// sweep comes.
func TestAnIDUsedAgain(t *testing.T) {
	Run(t, func(w *World) {
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 5s}\ntypes:\n  demo.echo: {maxPayload: 3000000}\n")
		c := w.Dial()
		large := fmt.Sprintf(`{"text":%q}`, strings.Repeat("x", 1_000_000))
		var last string
		for life := range 3 {
			worker := w.StartWorker(nil)
			_, id := w.submitKeyed("sales-2026-01", large)
			if last != "" && id != last {
				t.Fatalf("life %d has the ID %s, the one before %s", life, id, last)
			}
			last = id
			w.WantEnd("a job", c, id, job.Completed, 1)
			w.Stop(worker)
			w.expire(c, id)
		}
		// Now the payload waits for a worker while the sweep goes by, and then the result for its reader.
		_, id := w.submitKeyed("sales-2026-01", large)
		w.eventually("the former lives' blobs are removed", func() bool {
			return w.tracker.Count("ackwire_tracker_blobs_removed_total") >= 6
		})
		time.Sleep(time.Minute)
		w.StartWorker(nil)
		doc := w.WantEnd("its payload was kept", c, id, job.Completed, 1)
		if status, _, b := w.HTTP("GET", doc.ResultURL, nil, nil); status != http.StatusOK || !bytes.Equal(b, []byte(large)) {
			t.Errorf("its result: %d, %d bytes", status, len(b))
		}
		w.expire(c, id)
		w.eventually("its blobs are removed, too", func() bool {
			return w.tracker.Count("ackwire_tracker_blobs_removed_total") >= 8
		})
	})
}

// TestAnOrderOfAFormerLife: what was written for a job that has expired, and lands late, is not for
// the one that has its ID now.
func TestAnOrderOfAFormerLife(t *testing.T) {
	Run(t, func(w *World) {
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 5s}\ntypes:\n  demo.echo: {}\n")
		c := w.Dial()
		_, id := w.submitKeyed("k", `{"n":1}`)
		w.order("cancel", id, "cancelled")
		former := w.last(id, event.Accepted)
		w.expire(c, id)
		w.submitKeyed("k", `{"n":2}`)
		if now := w.last(id, event.Accepted); now.Life == "" || now.Life == former.Life {
			t.Fatalf("lives %q and %q", former.Life, now.Life)
		}
		for _, e := range []event.Event{
			{Type: event.CancelRequested}, {Type: event.DeadlineExceeded}, {
				Type: event.PayloadLost, Dispatch: 1, Request: former.Request,
			},
		} {
			e.JobID, e.Life = id, former.Life
			w.Event(&e)
		}
		w.eventually("they are refused", func() bool { return w.refused("other_life") == 3 })
		w.StartWorker(nil)
		w.WantEnd("the job that has the ID now", c, id, job.Completed, 1)
	})
}

// TestALanesGroupLosesItsOffsets: Kafka removes the offsets of a group that was empty for a week, and
// delivers again what the topic still holds. A request that may have been a job does not run again; a
// request whose accepted event was lost becomes a job, even after hours.
func TestALanesGroupLosesItsOffsets(t *testing.T) {
	Run(t, func(w *World) {
		var runs Counter
		w.jobTypes("defaults: {lane: default, lease: 30s, retention: 10m}\ntypes:\n  demo.echo: {}\n")
		c := w.Dial()
		var ids []string
		for i := range 8 {
			j := w.Submit(c, "demo.echo", `{"n":1}`)
			ids = append(ids, j.ID)
			if i%2 == 1 {
				w.order("cancel", j.ID, "cancelled")
			}
		}
		worker := w.StartWorker(echoes(&runs, time.Second))
		w.eventually("all have ended", func() bool {
			for _, id := range ids {
				if s := w.get(c, id); !s.State.Terminal() {
					return false
				}
			}
			return true
		})
		w.Stop(worker)
		ran := runs.Load()
		time.Sleep(10 * time.Minute)
		for _, id := range ids {
			w.expire(c, id)
		}
		h := w.handWrite()
		h.request() // and its gateway dies
		time.Sleep(45 * time.Minute)
		if _, err := kadm.NewClient(w.raw).DeleteGroups(w.ctx(), w.Names.ProcessorGroup("default")); err != nil {
			t.Fatal(err)
		}
		w.StartWorker(echoes(&runs, time.Second))
		h.isCreatedByItsClaim(c)
		w.WantEnd("it has lost no more than its accepted", c, h.id, job.Completed, 1)
		w.eventually("the others are stopped and counted", func() bool {
			return w.refused("stale_request") >= float64(len(ids))
		})
		if n := runs.Load(); n != ran+1 {
			t.Errorf("%d runs after the offsets were lost, want 1", n-ran)
		}
		for _, id := range ids {
			if _, err := c.Job(id).Get(w.ctx()); err == nil {
				t.Errorf("expired job %s is back", id)
			}
		}
	})
}

// TestAStrayRequestOfAScheduledJob: a reservation was lost, so that another submit with the same
// key wrote a request straight into the lane. It must not run in the scheduled job's name.
func TestAStrayRequestOfAScheduledJob(t *testing.T) {
	Run(t, func(w *World) {
		var payloads []string
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(ctx context.Context, _ *processor.Job, payload []byte) (json.RawMessage,
				error) {
				// A run of the stray request begins, for its claim is durable, and is stopped.
				if !pause.For(ctx, time.Second) {
					return nil, context.Cause(ctx)
				}
				payloads = append(payloads, string(payload))
				return payload, nil
			})
		})
		c := w.Dial()
		h := w.handWrite()
		due := time.Now().Add(time.Hour)
		h.scheduled(`{"payload":"one"}`, due)
		w.eventually("it is scheduled", func() bool {
			s, err := c.Job(h.id).Get(w.ctx())
			return err == nil && s.State == job.Scheduled
		})
		h.request() // carries another payload
		time.Sleep(59 * time.Minute)
		if s := w.get(c, h.id); s.State != job.Scheduled || len(payloads) != 0 {
			t.Fatalf("a minute before it is due it is %s, and %q ran", s.State, payloads)
		}
		time.Sleep(time.Minute)
		w.WantEnd("when it is due", c, h.id, job.Completed, 1)
		if len(payloads) != 1 || payloads[0] != `{"payload":"one"}` || time.Now().Before(due) {
			t.Errorf("%q ran", payloads)
		}
	})
}

// scheduled writes what a gateway writes for a job with a start.
func (h handWritten) scheduled(payload string, at time.Time) {
	r := topic.Request{JobID: h.id, Job: "demo.echo", Lane: "default", Dispatch: 1, Attempt: 1, Tenant: Tenant,
		PayloadHash: "sha256:01", Policy: policy, Time: time.Now(), RunAt: &at}
	headers, err := r.Headers()
	if err != nil {
		h.w.T.Fatal(err)
	}
	rec := &kgo.Record{Topic: h.w.Names.Deferred(), Key: []byte(h.id), Value: []byte(payload)}
	for _, header := range headers {
		rec.Headers = append(rec.Headers, kgo.RecordHeader(header))
	}
	h.w.Produce(rec)
	h.w.Event(&event.Event{Type: event.Accepted, JobID: h.id, Job: "demo.echo", Lane: "default", Tenant: Tenant,
		RunAt:       &at,
		PayloadHash: "sha256:01", Policy: &policy, Request: &event.Position{
			Topic: rec.Topic, Partition: rec.Partition, Offset: rec.Offset,
		}})
}

// TestARefusedSubmitFreesItsKey: the same submit again is taken at once, not after the time of the
// reservation that the refused one had.
func TestARefusedSubmitFreesItsKey(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		refuse, requests := true, w.Cluster.TopicInfo(w.Names.Requests("default")).TopicID
		w.Cluster.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.Cluster.KeepControl()
			produce := r.(*kmsg.ProduceRequest)
			if !refuse || produce.Topics[0].TopicID != requests {
				return nil, nil, false
			}
			response := produce.ResponseKind().(*kmsg.ProduceResponse)
			for _, t := range produce.Topics {
				refused := kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
				for _, p := range t.Partitions {
					refused.Partitions = append(refused.Partitions, kmsg.ProduceResponseTopicPartition{
						Partition: p.Partition, ErrorCode: kerr.PolicyViolation.Code,
					})
				}
				response.Topics = append(response.Topics, refused)
			}
			return response, nil, true
		})
		if status, _ := w.submitKeyed("k", `{"n":1}`); status != http.StatusServiceUnavailable {
			t.Fatalf("the broker refuses: %d", status)
		}
		refuse = false
		began := time.Now()
		status, id := w.submitKeyed("k", `{"n":1}`)
		if d := time.Since(began); status != http.StatusAccepted || d > time.Second {
			t.Errorf("the second time: %d after %s; the key was held by a submit that came to nothing", status, d)
		}
		w.WantEnd("the second time", c, id, job.Completed, 1)
	})
}

// removeRequests makes Kafka forget all requests of a lane, as its retention does.
func (w *World) removeRequests(lane string) {
	w.T.Helper()
	adm := kadm.NewClient(w.raw)
	ends, err := adm.ListEndOffsets(w.ctx(), w.Names.Requests(lane))
	if err != nil {
		w.T.Fatal(err)
	}
	if _, err := adm.DeleteRecords(w.ctx(), ends.Offsets()); err != nil {
		w.T.Fatal(err)
	}
}

// TestKafkaForgetsWhatJobsNeed: Kafka has removed the request of one job before a worker came, and the
// payload of a retry of another. Both jobs end, with the right error.
func TestKafkaForgetsWhatJobsNeed(t *testing.T) {
	Run(t, func(w *World) {
		c := w.Dial()
		worker := w.StartWorker(nil)
		ran := w.Submit(c, "demo.echo", `{"n":1}`)
		w.WantEnd("while all is there", c, ran.ID, job.Completed, 1)
		w.Stop(worker)
		var waiting []string
		for range 20 {
			waiting = append(waiting, w.Submit(c, "demo.echo", `{"n":2}`).ID)
		}
		time.Sleep(time.Second) // the store knows them
		w.removeRequests("default")
		later := w.Submit(c, "demo.echo", `{"n":3}`)
		w.order("retry", ran.ID, "retrying")
		for _, id := range append(waiting, ran.ID) {
			w.eventually("it fails", func() bool { return w.get(c, id).State.Terminal() })
			if doc := w.get(c, id); doc.State != job.Failed || doc.Error.Code != job.CodePayloadMissing {
				t.Errorf("%+v", doc)
			}
		}
		w.StartWorker(nil)
		w.WantEnd("one that came later", c, later.ID, job.Completed, 1)
	})
}
