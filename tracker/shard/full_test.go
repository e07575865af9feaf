package shard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/tracker/store"
)

// gauged is a disk whose free space the test decides.
type gauged struct {
	vfs.FS
	free *atomic.Uint64
}

func (g gauged) GetDiskUsage(string) (vfs.DiskUsage, error) {
	return vfs.DiskUsage{AvailBytes: g.free.Load()}, nil
}

// While the disk is full the shard is not ready, answers what it knows, and folds on until
// its memory's bound; then it takes no more records. When there is room again, all goes on.
func TestAFullDisk(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		const minFree, jobs = 1 << 20, maxDirty + 2000
		fs := gauged{vfs.NewMem(), &atomic.Uint64{}}
		fs.free.Store(3 * minFree)
		st, err := store.Open(fs, "data/store", identity, store.Options{MinFree: minFree, MemTable: 1 << 20}, quiet)
		if err != nil {
			t.Fatal(err)
		}
		p := st.Partition(testPartition)
		s := New(Config{Partition: testPartition, Partitions: testPartitions, Names: names, Store: p, Kafka: sink{},
			Metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), Log: quiet})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		var log []*kgo.Record
		policy := policy()
		for n := 0; len(log) < jobs; n++ {
			id := fmt.Sprintf("job-%06d", n)
			if kafka.Partition(id, testPartitions) != testPartition {
				continue
			}
			v, err := event.Encode(&event.Event{Type: event.Accepted, JobID: id, Job: "demo.echo", Tenant: tenant,
				Lane: "default", PayloadHash: "sha256:1", Policy: &policy,
				Request: &event.Position{Topic: names.Requests("default")}})
			if err != nil {
				t.Fatal(err)
			}
			log = append(log, &kgo.Record{
				Topic: names.Status(), Partition: testPartition, Key: []byte(id), Value: v, Offset: int64(len(log)),
				Timestamp: time.Now(),
			})
		}
		const batch = 500
		feed := func(from, to int) {
			for i := from; i < to; i += batch {
				s.Fold(ctx, log[i:min(i+batch, to)])
			}
		}
		feed(0, batch)
		time.Sleep(time.Second)
		if s.Ready() != nil || p.Position() != batch {
			t.Fatalf("%v, stored up to %d", s.Ready(), p.Position())
		}

		fs.free.Store(minFree / 4)
		fed := make(chan struct{})
		go func() { feed(batch, jobs); close(fed) }()
		time.Sleep(10 * time.Second)
		if err := s.Ready(); !errors.Is(err, store.ErrFull) {
			t.Errorf("on a full disk: %v", err)
		}
		at := s.Position()
		if at < maxDirty || at >= jobs || p.Position() != batch {
			t.Errorf("folded up to %d, stored up to %d", at, p.Position())
		}
		if _, err := s.Get(ctx, Query{JobID: string(log[at-1].Key), Scope: Scope{Tenant: tenant}}); err != nil {
			t.Errorf("what was folded last: %v", err)
		}

		fs.free.Store(100 * minFree)
		<-fed
		time.Sleep(5 * time.Second)
		if s.Ready() != nil || p.Position() != jobs || p.Totals().Count != jobs {
			t.Errorf("%v, stored up to %d with %d jobs", s.Ready(), p.Position(), p.Totals().Count)
		}
		cancel()
		if err := errors.Join(<-ended, st.Close()); err != nil {
			t.Error(err)
		}
	})
}
