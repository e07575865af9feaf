package shard

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// sink is a Log that takes everything.
type sink struct{}

func (sink) Produce(_ *kgo.Record, done func(error))                     { done(nil) }
func (sink) EndOffset(context.Context, int32) (int64, error)             { return 0, nil }
func (sink) Record(context.Context, event.Position) (*kgo.Record, error) { return nil, nil }
func value(b *testing.B, e event.Event) []byte {
	b.Helper()
	v, err := event.Encode(&e)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

// lives makes the log of jobs that live side by side, a hundred at a time: accepted,
// claimed, two times progress, completed.
func lives(b *testing.B, jobs int) []*kgo.Record {
	b.Helper()
	const together = 100
	p := policy()
	done := fmt.Appendf(nil, `{"rows":[%s]}`, `1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16`)
	records := make([]*kgo.Record, 0, 5*jobs)
	now := time.Now().Truncate(time.Millisecond)
	pos := &event.Position{Topic: names.Requests("default"), Offset: 7}
	for first, n := 0, 0; first < jobs; first += together {
		var ids []string
		for ; len(ids) < together; n++ {
			if id := fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n); kafka.Partition(id, testPartitions) == testPartition {
				ids = append(ids, id)
			}
		}
		for step := range 5 {
			for _, id := range ids {
				e := event.Event{JobID: id, Dispatch: 1, Run: "run-" + id, Worker: "worker-1"}
				switch step {
				case 0, 1:
					e.Type = []event.Type{event.Accepted, event.Claimed}[step]
					e.Job = "demo.echo"
					e.Tenant = tenant
					e.Subject = "alice"
					e.Lane = "default"
					e.PayloadHash = "sha256:1"
					e.Policy = &p
					e.Request = pos
				case 2, 3:
					e.Type, e.Progress = event.Progress, &job.Progress{Percent: float64(step * 20), Message: "rows"}
				case 4:
					e.Type, e.Result = event.Completed, done
				}
				records = append(records, &kgo.Record{Topic: names.Status(), Partition: testPartition, Key: []byte(id),
					Value:  value(b, e),
					Offset: int64(len(records)), Timestamp: now.Add(time.Duration(len(records)) * time.Microsecond)})
			}
		}
	}
	return records
}

const (
	benchJobs  = 20_000
	benchBatch = 500
)

// BenchmarkShardFold folds the lives of 20,000 jobs: by a shard that checkpoints to Pebble
// on disk, and by no more than a map. ns/event is what one event costs.
func BenchmarkShardFold(b *testing.B) {
	records := lives(b, benchJobs)
	perEvent := func(b *testing.B) {
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/event")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("shard", func(b *testing.B) {
		for b.Loop() {
			foldByShard(b, records)
		}
		perEvent(b)
	})
	b.Run("map", func(b *testing.B) {
		for b.Loop() {
			jobs := map[string]*fold.Job{}
			for _, rec := range records {
				e, err := event.Decode(rec.Value)
				if err != nil {
					b.Fatal(err)
				}
				r := fold.Fold(jobs[e.JobID], &e, fold.Meta{Offset: rec.Offset, Time: rec.Timestamp})
				jobs[e.JobID] = r.Job
			}
		}
		perEvent(b)
	})
	b.Run("pebble", func(b *testing.B) { // the map, and what changed as a row each in a plain batch
		for b.Loop() {
			db, err := pebble.Open(b.TempDir(), &pebble.Options{Logger: quietPebble{}})
			if err != nil {
				b.Fatal(err)
			}
			jobs, changed := map[string]*fold.Job{}, map[string]struct{}{}
			for i, rec := range records {
				e, err := event.Decode(rec.Value)
				if err != nil {
					b.Fatal(err)
				}
				r := fold.Fold(jobs[e.JobID], &e, fold.Meta{Offset: rec.Offset, Time: rec.Timestamp})
				jobs[e.JobID] = r.Job
				changed[e.JobID] = struct{}{}
				if i%(20*benchBatch) == 20*benchBatch-1 || i == len(records)-1 {
					batch := db.NewBatch()
					for id := range changed {
						row, err := json.Marshal(jobs[id])
						if err != nil {
							b.Fatal(err)
						}
						if err := batch.Set([]byte(id), row, nil); err != nil {
							b.Fatal(err)
						}
					}
					if err := batch.Commit(pebble.Sync); err != nil {
						b.Fatal(err)
					}
					clear(changed)
				}
			}
			if err := db.Close(); err != nil {
				b.Fatal(err)
			}
		}
		perEvent(b)
	})
	b.Run("decode-codec", func(b *testing.B) {
		for b.Loop() {
			for _, rec := range records {
				if _, err := event.Decode(rec.Value); err != nil {
					b.Fatal(err)
				}
			}
		}
		perEvent(b)
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			for _, rec := range records {
				var e event.Event
				if err := json.Unmarshal(rec.Value, &e); err != nil {
					b.Fatal(err)
				}
			}
		}
		perEvent(b)
	})
}

// quietPebble is Pebble's logger.
type quietPebble struct{}

func (quietPebble) Infof(string, ...any)  {}
func (quietPebble) Errorf(string, ...any) {}
func (quietPebble) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func foldByShard(b *testing.B, records []*kgo.Record) {
	b.StopTimer()
	st, err := store.Open(vfs.Default, b.TempDir(), identity, store.Options{}, quiet)
	if err != nil {
		b.Fatal(err)
	}
	s := New(Config{Partition: testPartition, Partitions: testPartitions, Names: names, Store: st.Partition(testPartition),
		Kafka: sink{}, Metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), Log: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	b.StartTimer()
	for i := 0; i < len(records); i += benchBatch {
		s.Fold(ctx, records[i:i+benchBatch])
	}
	last, err := s.Get(ctx, Query{
		JobID: string(records[len(records)-1].Key), Scope: Scope{Tenant: tenant}, MinVersion: int64(len(records)),
	})
	if err != nil || !last.Job.Terminal {
		b.Fatal(last, err)
	}
	cancel()
	if err := <-ended; err != nil { // with its last checkpoint
		b.Fatal(err)
	}
	b.StopTimer()
	if next := st.Partition(testPartition).Position(); next != int64(len(records)) {
		b.Fatal(next)
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
	b.StartTimer()
}
