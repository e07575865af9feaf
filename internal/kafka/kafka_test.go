package kafka

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "status"

// world is a broker with one topic of three partitions, and a client, in a bubble.
type world struct {
	t              *testing.T
	cluster        *kfake.Cluster
	server, client *simnet.Host
	cl             *kgo.Client
}

func inBubble(t *testing.T, f func(*testing.T, *world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		w := &world{t: t, server: n.Host("broker"), client: n.Host("client")}
		l, err := w.server.Listen(t.Context(), "tcp", "localhost:9092")
		if err != nil {
			t.Fatal(err)
		}
		w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topic), kfake.ListenFn(listenOnce(l)))
		if err != nil {
			t.Fatal(err)
		}
		w.cl, err = Config{Brokers: []string{"localhost:9092"}}.NewClient(
			service.Env{Log: slog.New(slog.DiscardHandler), Dial: w.client.Dial}, "test")
		if err != nil {
			t.Fatal(err)
		}
		f(t, w)
		w.client.Heal()
		w.server.Heal()
		w.cl.Close()
		w.cluster.Close()
	})
}

func (w *world) produce(ctx context.Context, value string) error {
	return ProduceSync(ctx, w.cl, &kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte(value)})
}

// fault makes the broker answer one produce with an error code, kept from its log.
func (w *world) fault(e *kerr.Error, forEver bool) {
	w.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if forEver {
			w.cluster.KeepControl()
		}
		return answer(req, e), nil, true
	})
}

// answer is a broker's answer to a produce that has come to nothing.
func answer(req kmsg.Request, e *kerr.Error) kmsg.Response {
	produce := req.(*kmsg.ProduceRequest)
	resp := produce.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range produce.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, e.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// written is every value in the topic.
func (w *world) written() (values []string) {
	w.t.Helper()
	cl, err := Config{Brokers: []string{"localhost:9092"}}.NewClient(
		service.Env{Log: slog.New(slog.DiscardHandler), Dial: w.server.Dial}, "reader", kgo.ConsumeTopics(topic))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Second)
		fetches := cl.PollFetches(ctx)
		ended := ctx.Err() != nil
		cancel()
		if ended {
			return values
		}
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
}

func TestADurableRecordIsNil(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		if err := w.produce(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if got := w.written(); !slices.Equal(got, []string{"a"}) {
			t.Errorf("in the log: %q", got)
		}
	})
}

// Refused is said only when nothing was written, whatever the client does afterwards.
func TestARefusedRecordIsNotWritten(t *testing.T) {
	for _, e := range []*kerr.Error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed,
		kerr.ClusterAuthorizationFailed, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.PolicyViolation,
		kerr.UnsupportedForMessageFormat,
	} {
		t.Run(e.Message, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fault(e, true)
				err := w.produce(t.Context(), "a")
				if !errors.Is(err, ErrRefused) || errors.Is(err, ErrUnknown) || !errors.Is(err, e) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

// TestARecordThatWasTriedBeforeIsNotRefused: what the first try has written stays written, whatever
// the broker says to the second.
func TestARecordThatWasTriedBeforeIsNotRefused(t *testing.T) {
	for what, first := range map[string]func(*world, kmsg.Request) (kmsg.Response, error){
		"the answer was lost": func(*world, kmsg.Request) (kmsg.Response, error) {
			return nil, errors.New("the connection ends")
		},
		"not enough replicas after it was appended": func(_ *world, req kmsg.Request) (kmsg.Response, error) {
			return answer(req, kerr.NotEnoughReplicasAfterAppend), nil
		},
		"the broker's time ran out": func(_ *world, req kmsg.Request) (kmsg.Response, error) {
			return answer(req, kerr.RequestTimedOut), nil
		},
	} {
		for _, e := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.PolicyViolation, kerr.MessageTooLarge,
			kerr.InvalidRecord} {
			t.Run(what+", then "+e.Message, func(t *testing.T) {
				inBubble(t, func(t *testing.T, w *world) {
					tries := 0
					w.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
						w.cluster.KeepControl()
						tries++
						if tries == 1 {
							resp, err := first(w, req)
							return resp, err, true
						}
						return answer(req, e), nil, true
					})
					began := time.Now()
					err := w.produce(t.Context(), "a")
					if tries != 2 {
						t.Fatalf("%d tries: %v", tries, err)
					}
					wantUnknown(t, err, began)
				})
			})
		}
	}
}

func TestATopicThatDoesNotExistRefuses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		err := ProduceSync(t.Context(), w.cl, &kgo.Record{Topic: "nobody-made-it", Value: []byte("a")})
		if !errors.Is(err, ErrRefused) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > local.Delivery+time.Second {
			t.Errorf("known after %v only", took)
		}
	})
}

func TestARecordLargerThanAClientMaySendIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		if err := w.produce(t.Context(), strings.Repeat("x", 2<<20)); !errors.Is(err, ErrRefused) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAFullBufferRefusesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.server.Hang()
		ctx, cancel := context.WithCancel(t.Context())
		outcomes := make(chan error, maxBufferedRecords)
		for range maxBufferedRecords {
			Produce(ctx, w.cl, &kgo.Record{Topic: topic, Value: []byte("a")}, func(_ *kgo.Record, err error) { outcomes <- err })
		}
		began := time.Now()
		if err := w.produce(t.Context(), "one too many"); !errors.Is(err, ErrRefused) || !errors.Is(err, kgo.ErrMaxBuffered) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("refused after %v", took)
		}
		cancel()
		for range maxBufferedRecords {
			if err := <-outcomes; !errors.Is(err, ErrUnknown) {
				t.Fatalf("a record that was waiting: %v", err)
			}
		}
	})
}

// An error that passes is tried again and never seen.
func TestATransientErrorIsTriedAgain(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.RequestTimedOut} {
		t.Run(e.Message, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fault(e, false)
				if err := w.produce(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
				if got := w.written(); !slices.Equal(got, []string{"a"}) {
					t.Errorf("in the log: %q", got)
				}
			})
		})
	}
}

// One that stays makes the outcome unknown within the bound: with NotEnoughReplicasAfterAppend
// the record is there.
func TestAnErrorThatStaysIsUnknownWithinTheBound(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut} {
		t.Run(e.Message, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				w.fault(e, true)
				began := time.Now()
				wantUnknown(t, w.produce(t.Context(), "a"), began)
			})
		})
	}
}

func wantUnknown(t *testing.T, err error, began time.Time) {
	t.Helper()
	if !errors.Is(err, ErrUnknown) || errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	// A request in flight ends with its own timeout, not with the record's.
	if took, bound := time.Since(began), local.Delivery+local.Produce+local.Request; took > bound {
		t.Errorf("known after %v, the bound is %v", took, bound)
	}
}

func TestABrokerThatDoesNotAnswerIsUnknownWithinTheBound(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"hangs":      func(w *world) { w.server.Hang() },
		"is cut off": func(w *world) { w.server.Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, w *world) {
				if err := w.produce(t.Context(), "before"); err != nil {
					t.Fatal(err)
				}
				breakIt(w)
				began := time.Now()
				wantUnknown(t, w.produce(t.Context(), "during"), began)
				w.server.Heal()
				healed := time.Now()
				for w.produce(t.Context(), "after") != nil {
				}
				if took := time.Since(healed); took > local.Delivery {
					t.Errorf("produces again %v after the broker does", took)
				}
			})
		})
	}
}

// The record was appended and its ack was lost: "refused" would be a lie.
func TestALostAckIsUnknownAndTheRecordIsThere(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		if err := w.produce(t.Context(), "before"); err != nil {
			t.Fatal(err)
		}
		w.client.Deafen()
		began := time.Now()
		wantUnknown(t, w.produce(t.Context(), "during"), began)
		if got := w.written(); !slices.Equal(got, []string{"before", "during"}) {
			t.Errorf("in the log: %q", got)
		}
	})
}

func TestAContextThatEndsMakesTheOutcomeUnknownAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.server.Hang()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		began := time.Now()
		err := w.produce(ctx, "a")
		if !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("returned after %v", took)
		}
		time.Sleep(time.Minute) // the client gives the record up
	})
}

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		brokers []string
		want    string
	}{
		{[]string{"a:9092", "b:9092"}, ""},
		{nil, "at least one broker"},
		{[]string{"a:9092", " "}, "empty broker address"},
	} {
		err := Config{Brokers: c.brokers}.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.brokers, err)
		}
	}
}

// A codec that the cluster does not take refuses the record, and the error names the setting; each value of the setting
// is what a batch has.
func TestCompression(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.fault(kerr.UnsupportedForMessageFormat, false)
		err := w.produce(t.Context(), "x")
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--kafka-compression") {
			t.Errorf("a codec that is refused: %v", err)
		}
		var got []int
		w.cluster.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
			const attributesAt, bits = 22, 7 // of a batch (KIP-98)
			got = append(got, int(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records[attributesAt]&bits))
			return nil, nil, false
		})
		codecs := []string{"none", "gzip", "snappy", "lz4", "zstd", ""}
		for _, name := range codecs {
			c := Config{Brokers: []string{"localhost:9092"}, Compression: name}
			if err := c.Check(); err != nil {
				t.Error(err)
			}
			cl, err := c.NewClient(service.Env{Log: slog.New(slog.DiscardHandler), Dial: w.client.Dial}, "test")
			if err != nil {
				t.Fatal(err)
			}
			value := bytes.Repeat([]byte("a"), 1000)
			if err := ProduceSync(t.Context(), cl, &kgo.Record{Topic: topic, Value: value}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			cl.Close()
		}
		if want := []int{0, 1, 2, 3, 4, 2}; !slices.Equal(got, want) {
			t.Errorf("%q are the codecs %v, want %v", codecs, got, want)
		}
		if err := (Config{Brokers: []string{"b"}, Compression: "brotli"}).Check(); err == nil {
			t.Error("brotli is taken")
		}
	})
}
