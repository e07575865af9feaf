package shard

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/tracker/store"
)

// openedStore is a store of BenchmarkOpenWithStreams, and what opening it took.
type openedStore struct {
	dir              string
	jobs, opens      int
	sealed, unsealed time.Duration
	began, checked   time.Duration // of keepers, in sealed openings, and of the check
}

// BenchmarkOpenWithStreams opens two stores of a million ended jobs each, in turns: one whose jobs have written
// nothing, and one in which each has the totals of a stream in its document and 2 KiB of the stream kept beside it. As
// with BenchmarkOpen, opening ends when the first shard has answered a question. Beside the shards each partition's
// keeper begins, which reads where it goes on and which streams are open; that is told apart, for no shard waits for
// it. The stores were closed in order, or have no seal and are read in full; and the check is measured that follows
// the former. ACKWIRE_BENCH_JOBS and ACKWIRE_BENCH_KEPT are other sizes.
func BenchmarkOpenWithStreams(b *testing.B) {
	size := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	jobs, kept := size("ACKWIRE_BENCH_JOBS", 1_000_000), size("ACKWIRE_BENCH_KEPT", 2<<10)
	many := identity
	many.Partitions = 12
	stores := [2]*openedStore{}
	for i, bytes := range []int{0, kept} {
		stores[i] = &openedStore{dir: filepath.Join(b.TempDir(), "store"), jobs: jobs}
		fillEndedWith(b, stores[i].dir, many, jobs, bytes)
		stores[i].open(b, many, nil) // in which Pebble tidies up what was just written
	}
	turn := 0
	for b.Loop() {
		order := []*openedStore{stores[turn%2], stores[(turn+1)%2]}
		for _, s := range order {
			s.open(b, many, &s.sealed)
		}
		for _, s := range order {
			if err := os.Remove(filepath.Join(s.dir, "seal")); err != nil {
				b.Fatal(err)
			}
			s.open(b, many, &s.unsealed)
		}
		for _, s := range order {
			s.check(b, many)
		}
		turn++
	}
	report := func(name string, of func(*openedStore) time.Duration) {
		without, with := of(stores[0]).Seconds(), of(stores[1]).Seconds()
		b.ReportMetric(without/float64(turn), name+"-s")
		b.ReportMetric(with/float64(turn), name+"-streams-s")
		b.ReportMetric(with/without, "x-"+name)
	}
	report("sealed", func(s *openedStore) time.Duration { return s.sealed })
	report("unsealed", func(s *openedStore) time.Duration { return s.unsealed })
	report("keepers", func(s *openedStore) time.Duration { return s.began })
	report("check", func(s *openedStore) time.Duration { return s.checked })
	b.ReportMetric(stores[0].megabytes(b), "MB")
	b.ReportMetric(stores[1].megabytes(b), "MB-streams")
	b.ReportMetric(float64(jobs), "jobs")
	b.ReportMetric(0, "ns/op")
}

// open opens the store, and closes it again. It adds what that took until the first answer.
func (s *openedStore) open(b *testing.B, id store.Identity, took *time.Duration) {
	b.Helper()
	began := time.Now()
	st, err := store.Open(vfs.Default, s.dir, id, store.Options{}, quiet)
	if err != nil || st.SetAside() != "" {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run, keepers sync.WaitGroup
	metrics := NewMetrics(meter.New(prometheus.NewRegistry(), "tracker"))
	shards := make([]*Shard, id.Partitions)
	for p := range id.Partitions {
		part := st.Partition(p)
		shards[p] = New(Config{
			Partition: p, Partitions: id.Partitions, Names: names, Store: part, Kafka: endsAt{offset: 1}, Metrics: metrics,
			Log: quiet,
		})
		run.Go(func() {
			if err := shards[p].Run(ctx); err != nil {
				b.Error(err)
			}
		})
		keepers.Go(func() { // which a shard does not wait for: what a keeper does before it reads the topic
			if _, _, err := part.StreamsPosition(); err != nil {
				b.Error(err)
			}
			if err := part.OpenStreams(func(string) { b.Error("a stream is open") }); err != nil {
				b.Error(err)
			}
		})
	}
	asked := benchID(s.opens * 7919 % s.jobs)
	for ctx.Err() == nil {
		_, err := shards[kafka.Partition(asked, id.Partitions)].Get(ctx, Query{JobID: asked, Scope: Scope{Tenant: tenant}})
		if err == nil {
			break
		}
	}
	answered := time.Since(began)
	keepers.Wait()
	if took != nil {
		*took += answered
	}
	if took == &s.sealed {
		s.began += time.Since(began)
	}
	s.opens++
	cancel()
	run.Wait()
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}

// check measures the check of a store that was closed in order.
func (s *openedStore) check(b *testing.B, id store.Identity) {
	b.Helper()
	st, err := store.Open(vfs.Default, s.dir, id, store.Options{}, quiet)
	if err != nil || !st.Unchecked() {
		b.Fatalf("%v; the store must be sealed", err)
	}
	began := time.Now()
	if err := st.Verify(b.Context()); err != nil {
		b.Fatal(err)
	}
	s.checked += time.Since(began)
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}

// megabytes is what the store takes on the disk.
func (s *openedStore) megabytes(b *testing.B) float64 {
	b.Helper()
	var sum int64
	err := filepath.WalkDir(s.dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return float64(sum) / 1e6
}
