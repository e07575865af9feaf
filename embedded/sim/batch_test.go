package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// batcher is a client over a socket or over HTTP.
type batcher interface {
	SubmitBatch(ctx context.Context, items []ackwire.BatchItem) ([]ackwire.BatchResult, error)
}

// batchScript submits the same batches by each client, and notes what became of their items.
func batchScript(ctx context.Context, clients map[string]batcher) string {
	d := &diary{ids: map[string]string{}}
	with := func(o ...ackwire.SubmitOption) []ackwire.SubmitOption { return o }
	for _, name := range []string{"socket", "http"} {
		key := with(ackwire.Key("batch " + name))
		items := []ackwire.BatchItem{
			{Type: "demo.echo", Payload: 1},
			{Type: "demo.sleep", Payload: map[string]string{"seconds": "long"}},
			{Type: "none", Payload: 1},
			{Type: "demo.echo", Payload: "k", Options: key},
			{Type: "demo.echo", Payload: "k", Options: key},
			{Type: "demo.echo", Payload: "other", Options: key},
			{Type: "demo.sleep", Payload: map[string]int{"seconds": 1}, Options: with(ackwire.NoKey(), ackwire.NoWatch())},
			{Type: "", Payload: 1},
		}
		for _, round := range []string{"first", "again"} {
			results, err := clients[name].SubmitBatch(ctx, items)
			d.note("%s, %s: %d results, %s", name, round, len(results), problem(err))
			for i, r := range results {
				d.note("item %d: %s", i, r.Outcome())
				if r.Job == nil {
					d.note("refused: %s", problem(r.Err))
					continue
				}
				if _, known := d.ids[r.Job.ID]; !known {
					d.ids[r.Job.ID] = fmt.Sprintf("%s %s %d", name, round, i)
				}
				// Not its state: the first of two items of one key may have been worked on before the second.
				d.note("it is %s, a duplicate %t", d.name(r.Job.ID), r.Job.Duplicate)
				st, err := r.Job.Wait(ctx)
				d.note("it ends as %s in attempt %d with %s: %s", st.State, st.Attempt, st.Result, problem(err))
			}
		}
		for what, n := range map[string]int{"none": 0, "too many": ackwire.MaxBatch + 1} {
			_, err := clients[name].SubmitBatch(ctx, make([]ackwire.BatchItem, n))
			if err == nil {
				d.note("%s: taken", what)
			}
		}
	}
	return d.String()
}

// TestTheServerOfTestsTakesBatchesLikeTheRealOne: over a socket and over HTTP.
func TestTheServerOfTestsTakesBatchesLikeTheRealOne(t *testing.T) {
	var actual, memory string
	Run(t, func(w *World) {
		w.StartWorker(nil)
		time.Sleep(10 * time.Second) // the worker has joined its lanes
		actual = batchScript(w.ctx(), map[string]batcher{"socket": w.Dial(), "http": w.NewHTTP()})
	})
	bubble.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		demoHandlers(srv)
		ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
		defer cancel()
		memory = batchScript(ctx, map[string]batcher{"socket": srv.Dial(t), "http": srv.NewHTTP(t)})
	})
	compare(t, actual, memory, 60)
}

// TestABatchWhileTheBrokerRefuses: a part of a batch is refused with nothing written, and is submitted again until it
// is taken; of a part the outcome is not known, and the client repeats those with keys by itself. In the end no job has
// run twice, and none that was acked is lost.
func TestABatchWhileTheBrokerRefuses(t *testing.T) {
	const jobs = 200
	Run(t, func(w *World) {
		var mu sync.Mutex
		ran := map[string]int{}
		w.StartWorker(func(p *processor.Processor) {
			processor.HandleRaw(p, "demo.echo", func(_ context.Context, _ *processor.Job, b []byte) (json.RawMessage, error) {
				mu.Lock()
				defer mu.Unlock()
				ran[string(b)]++
				return b, nil
			})
		})
		time.Sleep(10 * time.Second) // the worker has joined its lanes
		completed := map[string]int{}
		refused := w.refuseSomeRequests()
		for name, c := range map[string]batcher{"socket": w.Dial(), "http": w.NewHTTP()} {
			items := make([]ackwire.BatchItem, jobs)
			for i := range items {
				items[i] = ackwire.BatchItem{Type: "demo.echo", Payload: fmt.Sprintf("%s %d", name, i)}
				if i%2 == 0 {
					items[i].Options = []ackwire.SubmitOption{ackwire.Key(fmt.Sprintf("%s %d", name, i))}
				} else {
					items[i].Options = []ackwire.SubmitOption{ackwire.NoKey()}
				}
			}
			before := refused()
			acked, unknown := w.submitAll(c, items)
			if len(acked)+unknown != jobs || len(acked) < jobs/2 || unknown > jobs/2 {
				t.Errorf("%s: %d of %d jobs acked, and of %d the outcome is not known", name, len(acked), jobs, unknown)
			}
			if refused() == before {
				t.Errorf("%s: the broker has refused nothing: the test proves nothing", name)
			}
			for _, j := range acked {
				st, err := j.Wait(w.ctx())
				if err != nil || st.State != job.Completed || st.Attempt != 1 {
					t.Errorf("%s: job %s ended %s in attempt %d: %v", name, j.ID, st.State, st.Attempt, err)
				}
				completed[string(st.Result)]++
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for payload, n := range ran {
			if n != 1 {
				t.Errorf("job %s has run %d times", payload, n)
			}
		}
		for payload, n := range completed {
			if n != 1 || ran[payload] != 1 {
				t.Errorf("job %s has completed %d times and run %d times", payload, n, ran[payload])
			}
		}
	})
}

// submitAll submits a batch, and again those of its items that were refused for now. It returns the jobs, and how many
// items have an outcome that is not known.
func (w *World) submitAll(c batcher, items []ackwire.BatchItem) (acked []*ackwire.Job, unknown int) {
	w.T.Helper()
	for round := 0; len(items) > 0; round++ {
		if round == 50 {
			w.T.Fatalf("%d items are still refused", len(items))
		}
		results, err := c.SubmitBatch(w.ctx(), items)
		if err != nil {
			w.T.Fatal(err)
		}
		var again []ackwire.BatchItem
		for i, r := range results {
			e, answered := errors.AsType[*ackwire.Error](r.Err)
			switch {
			case r.Outcome() == frame.Acked:
				acked = append(acked, r.Job)
			case r.Outcome() == frame.Refused && answered && e.Retryable:
				again = append(again, items[i])
			case r.Outcome() == frame.Unknown:
				unknown++
			default:
				w.T.Fatalf("item %d: %v", i, r.Err)
			}
		}
		items = again
		time.Sleep(time.Second)
	}
	return acked, unknown
}

// refuseSomeRequests makes the broker refuse every second write to the default lane. It returns a function that counts
// those that it has refused.
func (w *World) refuseSomeRequests() (refused func() int) {
	var mu sync.Mutex
	writes, count := 0, 0
	requests := w.Cluster.TopicInfo(w.Names.Requests("default")).TopicID
	w.Cluster.ControlKey(kmsg.Produce.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		w.Cluster.KeepControl()
		produce := r.(*kmsg.ProduceRequest)
		if produce.Topics[0].TopicID != requests {
			return nil, nil, false
		}
		mu.Lock()
		defer mu.Unlock()
		writes++
		if writes%2 == 0 {
			return nil, nil, false
		}
		count++
		response := produce.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range produce.Topics {
			answer := kmsg.ProduceResponseTopic{Topic: t.Topic, TopicID: t.TopicID}
			for _, p := range t.Partitions {
				answer.Partitions = append(answer.Partitions, kmsg.ProduceResponseTopicPartition{
					Partition: p.Partition, ErrorCode: kerr.PolicyViolation.Code,
				})
			}
			response.Topics = append(response.Topics, answer)
		}
		return response, nil, true
	})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return count
	}
}
