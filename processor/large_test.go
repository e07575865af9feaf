package processor

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
)

// If the broker's limit on records is too low for a result, the run must not repeat its report for ever.
func TestResultThatTheBrokerRefuses(t *testing.T) {
	inWorld(t, func(w *world) {
		end := make(chan struct{})
		wk := w.start(Config{}, handlers(map[string]RawHandler{"wait": func(context.Context, *Job, []byte) (json.RawMessage,
			error) {
			<-end
			return json.RawMessage(`1`), nil
		}}))
		w.submit(request("a", "wait"), `1`)
		w.want("running", "a", event.Claimed)
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Status(), Err: kerr.MessageTooLarge, Count: 1,
		})
		close(end)
		e := w.want("refused", "a", event.Claimed, event.Failed)[1]
		if e.Error.Code != "result_too_large" || e.Error.Retryable {
			t.Errorf("got %+v", e.Error)
		}
		wk.wantFree()
	})
}

// A bad record's offset is committed only once its dead letter is durable. A letter that is
// too large is written without its value, but with the record's position.
func TestDeadLetterIsDurableFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(nil))
		away := w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Dead(), Err: kerr.NotLeaderForPartition, Count: -1,
		})
		junk := &kgo.Record{Topic: w.names.Requests("default"), Key: []byte("junk"), Value: []byte(`large`)}
		if err := kafka.ProduceSync(w.ctx(), w.client, junk); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Second)
		if got := w.committed(); got != 0 {
			t.Errorf("committed %d before the dead letter is durable", got)
		}
		away.Remove()
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Dead(), Err: kerr.MessageTooLarge, Count: 1,
		})
		time.Sleep(5 * time.Second)
		if got := w.committed(); got != 1 {
			t.Errorf("committed %d", got)
		}
		wk.wantFree()
		reader, err := w.kafka().NewClient(w.env(), "reader", kgo.ConsumeTopics(w.names.Dead()))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		letters := reader.PollFetches(w.ctx()).Records()
		if len(letters) != 1 || len(letters[0].Value) != 0 || string(letters[0].Key) != "junk" {
			t.Fatalf("got %d letters: %+v", len(letters), letters)
		}
		for _, h := range letters[0].Headers {
			if h.Key == topic.HeaderDeadOffset && string(h.Value) != "0" {
				t.Errorf("offset %s", h.Value)
			}
		}
	})
}

// A letter whose headers are too large as well is written with the record's position only, and not tried for ever.
func TestDeadLetterOfLargeHeaders(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(nil))
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Dead(), Err: kerr.MessageTooLarge, Count: 2,
		})
		junk := &kgo.Record{
			Topic: w.names.Requests("default"), Key: []byte("junk"), Value: []byte(`large`),
			Headers: []kgo.RecordHeader{{Key: "x", Value: make([]byte, 100_000)}},
		}
		if err := kafka.ProduceSync(w.ctx(), w.client, junk); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if got := w.committed(); got != 1 {
			t.Errorf("committed %d", got)
		}
		wk.wantFree()
	})
}

// A file whose name is too long for an event fails its job, and not the worker.
func TestAFileOfALongName(t *testing.T) {
	for _, f := range []File{{Name: strings.Repeat("x", 1025)}, {ContentType: strings.Repeat("x", 257)}} {
		if err := (&Job{}).Attach(t.Context(), f); !errors.As(err, new(permanentError)) {
			t.Errorf("attached with %v", err)
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{}, handlers(map[string]RawHandler{"talk": func(_ context.Context, j *Job, _ []byte) (json.RawMessage,
			error) {
			j.Progress(1, strings.Repeat("é", 1000))
			return nil, nil
		}}))
		w.submit(request("a", "talk"), `1`)
		e := w.want("ended", "a", event.Claimed, event.Progress, event.Completed)[1]
		if n := len(e.Progress.Message); n != maxProgressMessage {
			t.Errorf("message of %d bytes", n)
		}
		if !json.Valid([]byte(`"` + e.Progress.Message + `"`)) {
			t.Error("message is not text")
		}
	})
}
