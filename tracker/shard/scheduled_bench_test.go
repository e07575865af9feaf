package shard

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/store"
)

// BenchmarkScheduled folds the lives of other jobs in a shard that holds 100,000 jobs whose
// start lies in the future, beside one that holds none: ns/event is what one event costs,
// B/scheduled what one waiting job costs in memory.
func BenchmarkScheduled(b *testing.B) {
	const batch = 500
	records := lives(b, 4000)
	for _, scheduled := range []int{0, 100_000} {
		b.Run(fmt.Sprint(scheduled), func(b *testing.B) {
			p := policy()
			runAt := time.Now().Add(24 * time.Hour)
			var waiting []*kgo.Record
			for n := 0; len(waiting) < scheduled; n++ {
				id := fmt.Sprintf("0198c0de-1111-7000-8000-%012d", n)
				if kafka.Partition(id, testPartitions) != testPartition {
					continue
				}
				at := runAt.Add(time.Duration(n) * time.Millisecond)
				waiting = append(waiting, &kgo.Record{Topic: names.Status(), Partition: testPartition, Key: []byte(id),
					Offset: int64(len(waiting)), Timestamp: time.Now(),
					Value: value(b, event.Event{Type: event.Accepted, JobID: id, Job: "demo.echo", Tenant: tenant, Subject: "alice",
						Lane: "default", PayloadHash: "sha256:1",
						Policy: &p, RunAt: &at, Request: &event.Position{Topic: names.Deferred(), Offset: int64(n)}})})
			}
			for b.Loop() {
				b.StopTimer()
				st, err := store.Open(vfs.Default, b.TempDir(), identity, store.Options{}, quiet)
				if err != nil {
					b.Fatal(err)
				}
				s := New(Config{Partition: testPartition, Partitions: testPartitions, Names: names,
					Store: st.Partition(testPartition),
					Kafka: sink{}, Metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), Log: quiet})
				ctx, cancel := context.WithCancel(context.Background())
				ended := make(chan error, 1)
				go func() { ended <- s.Run(ctx) }()
				foldAll := func(records []*kgo.Record, base int64) {
					for i := 0; i < len(records); i += batch {
						s.Fold(ctx, shifted(records[i:min(i+batch, len(records))], base))
					}
					last := records[len(records)-1]
					if _, err := s.Get(ctx, Query{JobID: string(last.Key), Scope: Scope{Tenant: tenant}, MinVersion: base +
						int64(len(records))}); err != nil {
						b.Fatal(err)
					}
				}
				before := heapBytes()
				if scheduled > 0 {
					foldAll(waiting, 0)
					b.ReportMetric(float64(heapBytes()-before)/float64(scheduled), "B/scheduled")
				}
				b.StartTimer()
				foldAll(records, int64(scheduled))
				b.StopTimer()
				cancel()
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
				if err := st.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/event")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// shifted are the records at offsets from base on.
func shifted(records []*kgo.Record, base int64) []*kgo.Record {
	out := make([]*kgo.Record, len(records))
	for i, r := range records {
		c := *r
		c.Offset += base
		out[i] = &c
	}
	return out
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
