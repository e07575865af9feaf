package fetch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topicName = "requests"

// inBubble runs a test beside a Kafka whose topic has two partitions.
func inBubble(t *testing.T, f func(*testing.T, *kgo.Client, *kfake.Cluster)) {
	bubble.Test(t, func(t *testing.T) {
		net := &kfake.VirtualNetwork{}
		cluster, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.Ports(9092, 9093, 9094), kfake.ListenFn(net.Listen),
			kfake.SeedTopics(2, topicName))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		cl, err := kgo.NewClient(append(Options(), kgo.SeedBrokers("localhost:9092"), kgo.Dialer(net.DialContext),
			kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.SnappyCompression()))...)
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		f(t, cl, cluster)
	})
}

// produce writes n records as one batch.
func produce(t *testing.T, cl *kgo.Client, partition int32, n int) {
	t.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Topic: topicName, Partition: partition, Key: fmt.Appendf(nil, "k%d", i),
			Value: []byte(strings.Repeat(fmt.Sprint(i, " "), 100)), Headers: []kgo.RecordHeader{
				{Key: "h", Value: fmt.Append(nil, i)}}})
	}
	if err := cl.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func at(partition int32, offset int64) event.Position {
	return event.Position{Topic: topicName, Partition: partition, Offset: offset}
}

func TestRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, cl *kgo.Client, _ *kfake.Cluster) {
		for p := range int32(2) {
			produce(t, cl, p, 50)
			produce(t, cl, p, 1)
		}
		f := New(cl)
		for _, offset := range []int64{0, 1, 49, 50} {
			for p := range int32(2) {
				rec, err := f.Record(t.Context(), at(p, offset))
				if err != nil {
					t.Fatal(err)
				}
				i := offset % 50
				if rec.Partition != p || rec.Offset != offset || string(rec.Key) != fmt.Sprintf("k%d", i) ||
					string(rec.Value) != strings.Repeat(fmt.Sprint(i, " "), 100) || len(rec.Headers) != 1 ||
					string(rec.Headers[0].Value) != fmt.Sprint(i) {
					t.Fatalf("at %d lies %+v", offset, rec)
				}
			}
		}
	})
}

// A range begins at its position, or within the batch that holds it, and is about as large as was asked for.
func TestRecords(t *testing.T) {
	inBubble(t, func(t *testing.T, cl *kgo.Client, _ *kfake.Cluster) {
		for range 20 {
			produce(t, cl, 1, 5)
		}
		f := New(cl)
		for _, from := range []int64{0, 7, 99} {
			for _, maxBytes := range []int32{1, 2000, 1 << 20} {
				records, err := f.Records(t.Context(), at(1, from), maxBytes)
				if err != nil || len(records) == 0 {
					t.Fatalf("from %d: %d records, %v", from, len(records), err)
				}
				for i, rec := range records {
					if rec.Offset != from+int64(i) || string(rec.Key) != fmt.Sprintf("k%d", rec.Offset%5) {
						t.Fatalf("record %d from %d is %+v", i, from, rec)
					}
				}
				if all := int(100 - from); maxBytes == 1<<20 && len(records) != all || maxBytes == 1 && len(records) > 5 {
					t.Fatalf("from %d there are %d records in %d bytes", from, len(records), maxBytes)
				}
			}
		}
		if _, err := f.Records(t.Context(), at(1, 100), 1); !errors.Is(err, ErrGone) && err == nil {
			t.Fatal("records behind the end")
		}
	})
}

func TestRecordIsGone(t *testing.T) {
	inBubble(t, func(t *testing.T, cl *kgo.Client, _ *kfake.Cluster) {
		produce(t, cl, 0, 10)
		f := New(cl)
		if _, err := f.Record(t.Context(), at(0, 11)); !errors.Is(err, ErrGone) || errors.Is(err, ErrRemoved) {
			t.Fatalf("after the end: %v", err)
		}
		offsets := kadm.Offsets{}
		offsets.AddOffset(topicName, 0, 5, -1)
		if _, err := kadm.NewClient(cl).DeleteRecords(t.Context(), offsets); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Record(t.Context(), at(0, 4)); !errors.Is(err, ErrGone) || !errors.Is(err, ErrRemoved) ||
			!strings.Contains(err.Error(), "requests[0]@4") {
			t.Fatalf("before the start: %v", err)
		}
		if rec, err := f.Record(t.Context(), at(0, 5)); err != nil || rec.Offset != 5 {
			t.Fatalf("%v, %v", rec, err)
		}
	})
}

func TestRecordOfWhatIsNotThere(t *testing.T) {
	inBubble(t, func(t *testing.T, cl *kgo.Client, _ *kfake.Cluster) {
		f := New(cl)
		for _, pos := range []event.Position{{Topic: "no such topic"}, at(7, 0)} {
			if _, err := f.Record(t.Context(), pos); err == nil || errors.Is(err, ErrGone) {
				t.Fatalf("%+v: %v, want an error that is worth another try", pos, err)
			}
		}
		if len(f.leaders) != 0 {
			t.Fatalf("leaders %v are kept", f.leaders)
		}
	})
}

func TestLeaderMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, cl *kgo.Client, cluster *kfake.Cluster) {
		produce(t, cl, 0, 3)
		f := New(cl)
		if _, err := f.Record(t.Context(), at(0, 1)); err != nil {
			t.Fatal(err)
		}
		before := f.leaders[topicPartition{topicName, 0}]
		if err := cluster.MoveTopicPartition(topicName, 0, (before+1)%3); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Record(t.Context(), at(0, 1)); !errors.Is(err, kerr.NotLeaderForPartition) {
			t.Fatalf("got %v, want the old leader to refuse", err)
		}
		time.Sleep(10 * time.Second) // beyond the age up to which the client answers from memory
		rec, err := f.Record(t.Context(), at(0, 1))
		if err != nil || rec.Offset != 1 {
			t.Fatalf("the next try: %v, %v", rec, err)
		}
	})
}

func TestContext(t *testing.T) {
	inBubble(t, func(t *testing.T, cl *kgo.Client, _ *kfake.Cluster) {
		produce(t, cl, 0, 1)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := New(cl).Record(ctx, at(0, 0)); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	})
}
