package processor

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

func TestUndecodableRecordsGoToDead(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"echo": echo}))
		send := func(id string, change func(*kgo.Record)) *kgo.Record {
			req := request(id, "echo")
			headers, err := req.Headers()
			if err != nil {
				t.Fatal(err)
			}
			rec := &kgo.Record{Topic: w.names.Requests("default"), Key: []byte(id), Value: []byte(`1`)}
			for _, h := range headers {
				rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
			}
			change(rec)
			if err := kafka.ProduceSync(w.ctx(), w.client, rec); err != nil {
				t.Fatal(err)
			}
			return rec
		}
		set := func(key, value string) func(*kgo.Record) {
			return func(r *kgo.Record) {
				for i := range r.Headers {
					if r.Headers[i].Key == key {
						r.Headers[i].Value = []byte(value)
					}
				}
			}
		}
		sent := map[string]*kgo.Record{
			"bad_request/no-headers": send("no-headers", func(r *kgo.Record) { r.Headers = nil }),
			"bad_request/dispatch":   send("dispatch", set(topic.HeaderDispatch, "x")),
			"bad_request/key":        send("key", set(topic.HeaderID, "another")),
			"bad_request/lease":      send("lease", set(topic.HeaderPolicy, `{"attempts":1}`)),
			"unknown_version/v":      send("v", set(topic.HeaderVersion, "2")),
		}
		w.submit(request("good", "echo"), `1`)
		w.last("good")
		time.Sleep(moment)

		reader, err := w.kafka().NewClient(w.env(), "reader", kgo.ConsumeTopics(w.names.Dead()))
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		found := map[string]bool{}
		for len(found) < len(sent) {
			reader.PollFetches(w.ctx()).EachRecord(func(letter *kgo.Record) {
				extra := map[string]string{}
				for _, h := range letter.Headers {
					extra[h.Key] = string(h.Value)
				}
				name := extra[topic.HeaderDeadReason] + "/" + string(letter.Key)
				rec := sent[name]
				if rec == nil || found[name] {
					t.Fatalf("unexpected dead letter %s", name)
				}
				found[name] = true
				if string(letter.Value) != string(rec.Value) || len(letter.Headers) != len(rec.Headers)+6 {
					t.Errorf("%s: value %q, %d headers", name, letter.Value, len(letter.Headers))
				}
				for key, want := range map[string]string{
					topic.HeaderDeadTopic:     rec.Topic,
					topic.HeaderDeadPartition: fmt.Sprint(rec.Partition),
					topic.HeaderDeadOffset:    fmt.Sprint(rec.Offset),
					topic.HeaderDeadBy:        "processor",
				} {
					if extra[key] != want {
						t.Errorf("%s: header %s is %q, want %q", name, key, extra[key], want)
					}
				}
				if extra[topic.HeaderDeadDetail] == "" {
					t.Errorf("%s: no detail", name)
				}
			})
		}
		if got := w.committed(); got != int64(len(sent)+1) {
			t.Errorf("committed %d", got)
		}
		if got := counter(t, wk.metrics.deadLetters.WithLabelValues("unknown_version")); got != 1 {
			t.Errorf("counted %v", got)
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
