package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/topic"
)

// chunks returns the records of a job's streams so far, in the order of their partition.
func (w *world) chunks(jobID string) (all []stream.Chunk) {
	w.t.Helper()
	client, err := w.kafka().NewClient(w.env(), "streams", kgo.ConsumeTopics(w.names.Streams()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(w.ctx(), 2*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			if string(rec.Key) != jobID {
				return
			}
			headers := make([]topic.Header, len(rec.Headers))
			for i, h := range rec.Headers {
				headers[i] = topic.Header{Key: h.Key, Value: h.Value}
			}
			c, err := stream.Parse(string(rec.Key), headers, rec.Value)
			if err != nil {
				w.t.Errorf("record %q: %v", rec.Value, err)
			}
			if status := w.partitionOf(jobID); rec.Partition != status {
				w.t.Errorf("job %s: streams are in partition %d, events in %d", jobID, rec.Partition, status)
			}
			all = append(all, c)
		})
	}
	return all
}

// partitionOf returns the partition of a job's events.
func (w *world) partitionOf(jobID string) int32 {
	return int32(kgo.StickyKeyPartitioner(nil).ForTopic(w.names.Status()).Partition(&kgo.Record{Key: []byte(jobID)},
		testPartitions))
}

// refuseStreams makes the broker refuse all pieces.
func (w *world) refuseStreams() *kfake.FaultHandle {
	return w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Streams(),
		Err: kerr.NotLeaderForPartition, Count: -1})
}

// says is a handler that writes to a text, a list and its log, and then does what then says.
func says(then func(ctx context.Context) (json.RawMessage, error)) RawHandler {
	return func(ctx context.Context, j *Job, _ []byte) (json.RawMessage, error) {
		if _, err := fmt.Fprint(j.Stream("tokens"), "grüße"); err != nil {
			return nil, err
		}
		if err := j.Stream("rows").Send(map[string]int{"a": 1}); err != nil {
			return nil, err
		}
		j.Log.Info("said", "words", 1)
		return then(ctx)
	}
}

// TestTheLastEventHasTheTotals: however a run ends, all that it wrote is stored before, and the event says how much.
func TestTheLastEventHasTheTotals(t *testing.T) {
	want := job.Streams{"tokens": {Kind: job.StreamText, Total: 7}, "rows": {Kind: job.StreamJSON, Total: 1},
		"log": {Kind: job.StreamJSON, Total: 1}}
	inWorld(t, func(w *world) {
		wk := w.start(Config{Grace: time.Second}, handlers(map[string]RawHandler{
			"completes": says(func(context.Context) (json.RawMessage, error) { return json.RawMessage(`1`), nil }),
			"fails":     says(func(context.Context) (json.RawMessage, error) { return nil, errors.New("no") }),
			"panics":    says(func(context.Context) (json.RawMessage, error) { panic("secret") }),
			"blocks": says(func(ctx context.Context) (json.RawMessage, error) {
				<-ctx.Done()
				return nil, context.Cause(ctx)
			}),
			"hangs": says(func(context.Context) (json.RawMessage, error) { time.Sleep(time.Minute); return nil, nil }),
			"quiet": echo,
		}))
		types := map[string]event.Type{"completes": event.Completed, "fails": event.Failed, "panics": event.Failed,
			"blocks": event.Released, "hangs": event.Released, "quiet": event.Completed}
		for name := range types {
			w.submit(request(name, name), `{}`)
		}
		time.Sleep(2 * moment)
		_ = wk.halt() // the handler that hangs is an error
		for name, kind := range types {
			e := w.last(name)
			if e.Type != kind {
				t.Fatalf("%s has ended %s", name, e.Type)
			}
			if name == "quiet" {
				if e.Streams != nil {
					t.Errorf("%s: %v", name, e.Streams)
				}
				continue
			}
			wantTotals(t, e.Streams, want)
			ends := map[string]int64{}
			for _, c := range w.chunks(name) {
				if c.From != ends[c.Stream] || c.Dispatch != e.Dispatch || c.Run != e.Run {
					t.Errorf("%s: %+v", name, c)
				}
				ends[c.Stream] = c.End()
				if strings.Contains(string(c.Value), "secret") {
					t.Errorf("%s: the owner sees %s", name, c.Value)
				}
			}
			for stream, total := range e.Streams {
				if ends[stream] != total.Total {
					t.Errorf("%s: the stream %s has %d, want %d", name, stream, ends[stream], total.Total)
				}
			}
		}
		time.Sleep(2 * time.Minute) // the handler that hangs returns
		if got := counter(t, wk.metrics.streams.records.WithLabelValues("text")); got != 5 {
			t.Errorf("%v records of text", got)
		}
		if got := counter(t, wk.metrics.streams.bytes.WithLabelValues("text")); got != 35 {
			t.Errorf("%v bytes of text", got)
		}
	})
}

// TestStreamsThatAreNotStoredFailTheRun, with a code that is retryable; the next run writes them from their beginning.
func TestStreamsThatAreNotStoredFailTheRun(t *testing.T) {
	inWorld(t, func(w *world) {
		w.answers(grantAll)
		w.start(Config{}, handlers(map[string]RawHandler{
			"says": says(func(context.Context) (json.RawMessage, error) { return json.RawMessage(`1`), nil }),
		}))
		away := w.refuseStreams()
		w.submit(request("a", "says"), `{}`)
		began := time.Now()
		e := w.last("a")
		if e.Type != event.Failed || e.Error.Code != job.CodeStreamNotStored || !e.Error.Retryable || e.Streams != nil {
			t.Fatalf("%+v, %+v", e, e.Error)
		}
		if took := time.Since(began); took > local.Delivery+2*time.Second {
			t.Errorf("the end came after %v", took)
		}
		away.Remove()
		req := request("a", "says")
		req.Dispatch, req.Attempt = 2, 2
		w.submit(req, `{}`)
		time.Sleep(5 * time.Second)
		if e = w.last("a"); e.Type != event.Completed || e.Streams["tokens"].Total != 7 {
			t.Errorf("%+v", e)
		}
	})
}

// TestALogThatIsNotStoredDoesNotFailTheRun.
func TestALogThatIsNotStoredDoesNotFailTheRun(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{}, handlers(map[string]RawHandler{
			"logs": func(_ context.Context, j *Job, _ []byte) (json.RawMessage, error) {
				j.Log.Info("hello")
				return json.RawMessage(`1`), nil
			},
		}))
		w.refuseStreams()
		w.submit(request("a", "logs"), `{}`)
		if e := w.last("a"); e.Type != event.Completed || e.Streams != nil {
			t.Errorf("%+v", e)
		}
	})
}

// TestAStoppedRunWritesNoMore: its writes return why.
func TestAStoppedRunWritesNoMore(t *testing.T) {
	for _, want := range []error{ErrStopped, ErrLeaseLost} {
		inWorld(t, func(w *world) {
			got := make(chan error, 1)
			wk := w.start(Config{}, handlers(map[string]RawHandler{
				"writes": func(ctx context.Context, j *Job, _ []byte) (json.RawMessage, error) {
					for {
						if _, err := j.Stream("tokens").Write([]byte("x")); err != nil {
							got <- err
							return nil, err
						}
						time.Sleep(10 * time.Millisecond)
					}
				},
			}))
			w.submit(request("a", "writes"), `{}`)
			e := w.want("it runs", "a", event.Claimed)[0]
			if want == ErrStopped {
				w.order(e.Event, event.Stop)
			} else {
				w.cutOff()
			}
			if err := <-got; !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			time.Sleep(moment)
			before := len(w.chunks("a"))
			time.Sleep(10 * time.Second)
			if after := len(w.chunks("a")); before == 0 || after != before {
				t.Errorf("%d pieces have become %d", before, after)
			}
			wk.wantFree()
		})
	}
}

// TestStreamLimitsByJobType: a type's own limits count, else those of the configuration.
func TestStreamLimitsByJobType(t *testing.T) {
	p, err := New(Config{StreamLimit: 1000, StreamRate: 2048}, quiet(), WithStreamLimits(func(t string) (int64, int64) {
		switch t {
		case "small":
			return 10, 5000
		case "wild":
			return 1 << 50, 1
		}
		return 0, 0
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]streamLimits{"small": {10, 5000}, "other": {1000, 2048},
		"wild": {maxStreamLimit, minStreamRate}} {
		if got := p.limitsOf(name); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if p, err = New(Config{}, quiet()); err != nil || p.limitsOf("x") != (streamLimits{8 << 20, 256 << 10}) {
		t.Errorf("%v: %+v", err, p.limitsOf("x"))
	}
	for _, cfg := range []Config{{StreamLimit: -1}, {StreamLimit: maxStreamLimit + 1}, {StreamRate: minStreamRate - 1},
		{StreamRate: maxStreamRate + 1}} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "stream-") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
