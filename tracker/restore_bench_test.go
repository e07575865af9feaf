package tracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/view"
)

// BenchmarkRestore restores a million jobs from view to an empty disk, beside a bare consumer
// that reads the same records and does nothing with them. The broker is kfake, in this
// process, unless ACKWIRE_BENCH_KAFKA names one.
func BenchmarkRestore(b *testing.B) {
	const jobs, parts = 1_000_000, 12
	log := slog.New(slog.DiscardHandler)
	cfg := kafka.Config{Brokers: []string{os.Getenv("ACKWIRE_BENCH_KAFKA")}}
	if cfg.Brokers[0] == "" {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			b.Fatal(err)
		}
		defer cluster.Close()
		cfg.Brokers = cluster.ListenAddrs()
	}
	env := service.OS(log)
	env.Metrics = prometheus.NewRegistry()
	names := topic.Names{Prefix: fmt.Sprintf("bench%d.", time.Now().UnixNano())}
	admin, err := cfg.NewClient(env, "bench")
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	if _, err := kafka.EnsureTopics(b.Context(), admin, kafka.Topic(names.StatusSpec(parts)),
		kafka.Topic(names.ViewSpec(parts))); err != nil {
		b.Fatal(err)
	}
	id := store.Identity{ClusterID: "c", TopicID: "t", Topic: names.Status(), Partitions: parts}
	views := &view.Config{Names: names, Log: id, Address: "bench", Bounds: cfg.Bounds(),
		Writer: func(tx string, opts ...kgo.Opt) (*kgo.Client, error) {
			return cfg.NewTransactionalClient(env, "bench", tx, opts...)
		},
		Reader: func(opts ...kgo.Opt) (*kgo.Client, error) { return cfg.NewClient(env, "bench", opts...) },
	}
	each := func(f func(p int32) error) {
		b.Helper()
		var all sync.WaitGroup
		for p := range int32(parts) {
			all.Go(func() {
				if err := f(p); err != nil {
					b.Error(err)
				}
			})
		}
		all.Wait()
	}
	fillView(b, views, id, jobs, each)

	ends, err := kadm.NewClient(admin).ListCommittedOffsets(b.Context(), names.View())
	if err != nil {
		b.Fatal(err)
	}
	var bare, ours, bareCPU, oursCPU time.Duration
	for b.Loop() {
		began, before := time.Now(), cpu()
		readBare(b, cfg, env, names.View(), ends)
		bare += time.Since(began)
		bareCPU += cpu() - before

		dir := b.TempDir()
		began, before = time.Now(), cpu()
		st, err := store.Open(vfs.Default, dir, id, store.Options{View: true}, log)
		if err != nil {
			b.Fatal(err)
		}
		each(func(p int32) error {
			w, err := view.Take(b.Context(), *views, p)
			if err != nil {
				return err
			}
			defer w.Close()
			return w.Read(b.Context(), st.Partition(p), func(int64, int64) {})
		})
		ours += time.Since(began)
		oursCPU += cpu() - before
		count := int64(0)
		for p := range int32(parts) {
			count += st.Partition(p).Totals().Count
		}
		if count != jobs {
			b.Fatalf("%d jobs were restored", count)
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		if st, err = store.Open(vfs.Default, dir, id, store.Options{View: true}, log); err != nil || st.SetAside() != "" {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "warm-s")
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(bare.Seconds()/float64(b.N), "bare-s")
	b.ReportMetric(ours.Seconds()/float64(b.N), "restore-s")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "x-bare")
	b.ReportMetric(oursCPU.Seconds()/bareCPU.Seconds(), "x-bare-cpu")
	b.ReportMetric(oursCPU.Seconds()/float64(b.N), "restore-cpu-s")
	b.ReportMetric(0, "ns/op")
}

// cpu is the processor time that this process has taken, with that of a broker in it.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fillView writes the view of a million jobs that have ended.
func fillView(b *testing.B, views *view.Config, id store.Identity, jobs int, each func(func(p int32) error)) {
	b.Helper()
	at := time.Now().Truncate(time.Millisecond)
	aJob := func(n int) *fold.Job {
		return &fold.Job{
			Doc: job.Document{JobID: fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n), Type: "demo.echo", State: job.Completed,
				Attempt: 1, MaxAttempts: 3,
				CreatedAt: at, UpdatedAt: at, StartedAt: &at, FinishedAt: &at, Result: []byte(
					`{"rows":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}`),
				Attempts: []job.Attempt{
					{Number: 1, Worker: "worker-1", StartedAt: at, EndedAt: &at, Outcome: job.OutcomeCompleted},
				},
				Subject: fmt.Sprint("owner-", n%1000), Lane: "default"},
			Version: int64(n + 1), Tenant: "acme",
			PayloadHash: "sha256:1", Policy: policy(), Accepted: true, Dispatch: 1, RoundAt: at,
		}
	}
	scratch, err := store.Open(vfs.NewMem(), "data/store", id, store.Options{}, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	each(func(p int32) error {
		w, err := view.Take(b.Context(), *views, p)
		if err != nil {
			return err
		}
		defer w.Close()
		part := scratch.Partition(p)
		for n := int(p); n < jobs; {
			var changes []store.Change
			var ids []string
			rows := map[string]*store.Row{}
			for ; n < jobs && len(ids) < 5000; n += int(id.Partitions) {
				j := aJob(n)
				row, err := store.NewRow(j, nil)
				if err != nil {
					return err
				}
				ids, rows[row.ID] = append(ids, row.ID), &row
				changes = append(changes, store.Change{ID: row.ID, Job: j})
			}
			if err := part.Checkpoint(changes, int64(n+1), 0); err != nil {
				return err
			}
			if err := w.Write(b.Context(), ids, func(id string) (*store.Row, error) {
				return rows[id], nil
			}, part.Totals()); err != nil {
				return err
			}
		}
		return nil
	})
	if err := scratch.Close(); err != nil {
		b.Fatal(err)
	}
}

func readBare(b *testing.B, cfg kafka.Config, env service.Env, name string, ends kadm.ListedOffsets) {
	b.Helper()
	cl, err := cfg.NewClient(env, "bare", kgo.ConsumeTopics(name), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords())
	if err != nil {
		b.Fatal(err)
	}
	defer cl.Close()
	missing := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) { missing[o.Partition] = o.Offset })
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for len(missing) > 0 {
		fetches := cl.PollRecords(ctx, 10_000)
		if ctx.Err() != nil {
			b.Fatal(errors.Join(ctx.Err(), fetches.Err()))
		}
		fetches.EachPartition(func(f kgo.FetchTopicPartition) {
			if n := len(f.Records); n > 0 && f.Records[n-1].Offset+1 >= missing[f.Partition] {
				delete(missing, f.Partition)
			}
		})
	}
}
