package shard

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/tracker/store"
)

// BenchmarkOpen opens a store of a million ended jobs and starts the shards of its twelve partitions, until the first
// of them has answered a question: a store that was closed in order, and one without a seal, which is read in full
// first. It also tells what the check takes that follows the former, how long it lasts, and how long closing takes. The
// first opening is told apart: in it Pebble tidies up after the gigabyte that was just written.
func BenchmarkOpen(b *testing.B) {
	const jobs, parts = 1_000_000, 12
	many := identity
	many.Partitions = parts
	dir := filepath.Join(b.TempDir(), "store")
	fillEnded(b, dir, many, jobs)
	var first, sealed, unsealed, closed, slowest time.Duration
	opens := 0
	open := func() *store.Store {
		began := time.Now()
		st, err := store.Open(vfs.Default, dir, many, store.Options{}, quiet)
		if err != nil || st.SetAside() != "" {
			b.Fatal(err)
		}
		trusted := st.Unchecked()
		ctx, cancel := context.WithCancel(context.Background())
		var run sync.WaitGroup
		metrics := NewMetrics(meter.New(prometheus.NewRegistry(), "tracker"))
		shards := make([]*Shard, parts)
		for p := range int32(parts) {
			shards[p] = New(Config{
				Partition: p, Partitions: parts, Names: names, Store: st.Partition(p), Kafka: endsAt{offset: 1},
				Metrics: metrics, Log: quiet,
			})
			run.Go(func() {
				if err := shards[p].Run(ctx); err != nil {
					b.Error(err)
				}
			})
		}
		id := benchID(opens * 7919 % jobs)
		for {
			_, err := shards[kafka.Partition(id, parts)].Get(ctx, Query{JobID: id, Scope: Scope{Tenant: tenant}})
			if err == nil {
				break
			}
		}
		switch took := time.Since(began); {
		case opens == 0:
			first = took
		case trusted:
			sealed += took
			slowest = max(slowest, took)
		default:
			unsealed += took
		}
		opens++
		cancel()
		run.Wait()
		return st
	}
	shut := func(st *store.Store) {
		began := time.Now()
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		closed += time.Since(began)
	}
	for b.Loop() {
		st := open()
		if !st.Unchecked() {
			b.Fatal("the store is not sealed")
		}
		shut(st)
		if err := os.Remove(filepath.Join(dir, "seal")); err != nil {
			b.Fatal(err)
		}
		if st = open(); st.Unchecked() {
			b.Fatal("the store is sealed")
		}
		shut(st)
	}
	st := open()
	began, before := time.Now(), cpu()
	if err := st.Verify(b.Context()); err != nil {
		b.Fatal(err)
	}
	verify, verifyCPU := time.Since(began), cpu()-before
	shut(st)
	n := float64(opens / 2)
	b.ReportMetric(first.Seconds(), "first-s")
	b.ReportMetric(sealed.Seconds()/n, "sealed-s")
	b.ReportMetric(slowest.Seconds(), "sealed-max-s")
	b.ReportMetric(unsealed.Seconds()/n, "unsealed-s")
	b.ReportMetric(closed.Seconds()/float64(opens), "close-s")
	b.ReportMetric(verify.Seconds(), "check-s")
	b.ReportMetric(verifyCPU.Seconds(), "check-cpu-s")
	b.ReportMetric(0, "ns/op")
}
