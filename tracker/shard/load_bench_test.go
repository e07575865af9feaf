package shard

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/watch"
)

// running starts a shard on the disk.
func running(b *testing.B) (s *Shard, stop func()) {
	b.Helper()
	st, err := store.Open(vfs.Default, b.TempDir(), identity, store.Options{}, quiet)
	if err != nil {
		b.Fatal(err)
	}
	s = New(Config{Partition: testPartition, Partitions: testPartitions, Names: names, Store: st.Partition(testPartition),
		Kafka: sink{}, Metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker")), Log: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return s, func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	}
}

// BenchmarkGetUnderLoad asks a shard for 5,000 jobs a second, at random of all that it has folded, while it folds
// 20,000 events a second, and again while it folds none; an open loop, so that waiting counts.
func BenchmarkGetUnderLoad(b *testing.B) {
	const events, gets, seconds = 20_000, 5_000, 8
	records := lives(b, events*seconds/5)
	for b.Loop() {
		s, stop := running(b)
		ctx := context.Background()
		var folded atomic.Int64
		// ask returns the times of the answers, from the one in the middle on.
		ask := func(began time.Time) (p50, p99 time.Duration) {
			waits := make([]time.Duration, gets*(seconds-1))
			var asking sync.WaitGroup
			for i := range waits {
				at := began.Add(time.Second + time.Duration(i)*time.Second/gets)
				time.Sleep(time.Until(at))
				id := string(records[int64(i*7919)%max(folded.Load(), 1)].Key)
				asking.Go(func() {
					if _, err := s.Get(ctx, Query{JobID: id, Scope: Scope{Tenant: tenant}}); err != nil {
						b.Error(err)
					}
					waits[i] = time.Since(at)
				})
			}
			asking.Wait()
			slices.Sort(waits)
			return waits[len(waits)/2], waits[len(waits)*99/100]
		}
		var feeding sync.WaitGroup
		began := time.Now()
		feeding.Go(func() {
			for i := 0; i < len(records); i += 100 {
				time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / events)))
				s.Fold(ctx, records[i:i+100])
				folded.Store(int64(i))
			}
		})
		p50, p99 := ask(began)
		feeding.Wait()
		_, alone := ask(time.Now())
		stop()
		b.ReportMetric(float64(p50.Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(p99.Microseconds())/1000, "p99-ms")
		b.ReportMetric(float64(alone.Microseconds())/1000, "p99-ms-without-events")
		b.ReportMetric(float64(p99)/float64(alone), "p99-ratio")
	}
	b.ReportMetric(0, "ns/op")
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkWatchFanOut folds progress of 1,000 jobs, of which none or each is watched by ten
// gateways: what the difference costs is that of the updates.
func BenchmarkWatchFanOut(b *testing.B) {
	const jobs, rounds = 1000, 100
	for _, gateways := range []int{0, 10} {
		b.Run(fmt.Sprint(gateways), func(b *testing.B) {
			for b.Loop() {
				s, stop := running(b)
				ctx, cancel := context.WithCancel(context.Background())
				var ids []string
				for n := 0; len(ids) < jobs; n++ {
					if id := fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n); kafka.Partition(id, testPartitions) == testPartition {
						ids = append(ids, id)
					}
				}
				p := policy()
				var offset int64
				add := func(e event.Event) {
					v := value(b, e)
					s.Fold(ctx, []*kgo.Record{
						{
							Topic: names.Status(), Partition: testPartition, Key: []byte(e.JobID), Value: v, Offset: offset,
							Timestamp: time.Now(),
						},
					})
					offset++
				}
				for _, id := range ids {
					add(event.Event{Type: event.Claimed, JobID: id, Dispatch: 1, Run: "r", Worker: "w", Job: "demo.echo",
						Tenant: tenant, Lane: "default",
						PayloadHash: "sha256:1", Policy: &p, Request: &event.Position{Topic: names.Requests("default")}})
				}
				var updates atomic.Int64
				var reading sync.WaitGroup
				for range gateways {
					stream := watch.NewStream()
					for _, id := range ids {
						s.Watch(ctx, stream, &trackerpb.WatchAdd{JobId: id, Tenant: tenant, MinVersion: offset})
					}
					reading.Go(func() {
						for {
							r, err := stream.Next(ctx)
							if err != nil {
								return
							}
							updates.Add(int64(len(r.Updates)))
						}
					})
				}
				if _, err := s.Get(ctx, Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, MinVersion: offset}); err != nil {
					b.Fatal(err)
				}
				updates.Store(0)
				before := cpu()
				for round := range rounds {
					for _, id := range ids {
						add(event.Event{
							Type: event.Progress, JobID: id, Dispatch: 1, Run: "r", Worker: "w",
							Progress: &job.Progress{Percent: float64(round), Message: "rows"},
						})
					}
					if _, err := s.Get(ctx, Query{JobID: ids[0], Scope: Scope{Tenant: tenant}, MinVersion: offset}); err != nil {
						b.Fatal(err)
					}
				}
				spent := cpu() - before
				cancel()
				reading.Wait()
				b.ReportMetric(float64(updates.Load()), "updates")
				b.ReportMetric(float64(spent.Microseconds())/float64(jobs*rounds), "cpu-us/event")
				if n := updates.Load(); n > 0 {
					b.ReportMetric(spent.Seconds()*1e6/float64(n), "cpu-s/1M-updates")
				}
				stop()
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// resident is how much memory the process has of the system, in MB.
func resident(b *testing.B) float64 {
	b.Helper()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Skip("no /proc here: ", err)
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return kb / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// endsAt is a sink whose log has some records already.
type endsAt struct {
	sink
	offset int64
}

func (l endsAt) EndOffset(context.Context, int32) (int64, error) { return l.offset, nil }

// BenchmarkActiveJob tells what a job that runs takes in memory, once its last change is in the store.
func BenchmarkActiveJob(b *testing.B) {
	const active = 100_000
	policy := policy()
	var records []*kgo.Record
	for n := 0; len(records) < active; n++ {
		id := fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n)
		if kafka.Partition(id, testPartitions) != testPartition {
			continue
		}
		offset := int64(len(records))
		records = append(records, &kgo.Record{Topic: names.Status(), Partition: testPartition, Key: []byte(id),
			Offset: offset, Timestamp: time.Now(),
			Value: value(b, event.Event{Type: event.Claimed, JobID: id, Dispatch: 1, Run: "run-" + id, Worker: "worker-1",
				Job: "demo.echo", Tenant: tenant, Subject: fmt.Sprint("owner-", n%1000), Lane: "default",
				PayloadHash: "sha256:" + strings.Repeat("0", 64), Policy: &policy,
				Request: &event.Position{Topic: names.Requests("default"), Offset: offset}})})
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // the first one may have left what a finalizer holds
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	for b.Loop() {
		st, err := store.Open(vfs.Default, b.TempDir(), identity, store.Options{}, quiet)
		if err != nil {
			b.Fatal(err)
		}
		s := New(Config{Partition: testPartition, Partitions: testPartitions, Names: names, Log: quiet, Kafka: sink{},
			Store: st.Partition(testPartition), Metrics: NewMetrics(meter.New(prometheus.NewRegistry(), "tracker"))})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		s.Fold(ctx, records)
		for s.Position() < active || s.Unwritten() > 0 {
			time.Sleep(time.Millisecond)
		}
		with := heap()
		cancel()
		err = <-ended
		s = nil // what is left is the store's, which keeps its last writes in memory whatever their number
		b.ReportMetric(float64(with-heap())/active, "B/job")
		if err := errors.Join(err, st.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

func benchID(n int) string { return fmt.Sprintf("0198c0de-0000-7000-8000-%012d", n) }

// fillEnded makes a store of jobs that have ended.
func fillEnded(b *testing.B, dir string, id store.Identity, jobs int) {
	b.Helper()
	fillEndedWith(b, dir, id, jobs, 0)
}

// fillEndedWith does the same; if kept is not 0, each job has written so many bytes to a stream, which are kept.
func fillEndedWith(b *testing.B, dir string, id store.Identity, jobs, kept int) {
	b.Helper()
	texts := keptTexts(kept)
	at := time.Now().Truncate(time.Millisecond)
	st, err := store.Open(vfs.Default, dir, id, store.Options{}, quiet)
	if err != nil {
		b.Fatal(err)
	}
	changes, streams := make([][]store.Change, id.Partitions), make([][]store.StreamsChange, id.Partitions)
	flush := func(p int32) {
		if err := st.Partition(p).Checkpoint(changes[p], 1, 0); err != nil {
			b.Fatal(err)
		}
		changes[p] = nil
		if rows := streams[p]; len(rows) > 0 {
			if err := st.Partition(p).SaveStreams(rows, 1); err != nil {
				b.Fatal(err)
			}
			streams[p] = nil
		}
	}
	for n := range jobs {
		j := &fold.Job{
			Doc: job.Document{JobID: benchID(n), Type: "demo.echo", State: job.Completed, Attempt: 1, MaxAttempts: 3,
				CreatedAt: at, UpdatedAt: at, StartedAt: &at, FinishedAt: &at,
				Result: []byte(`{"rows":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}`), Attempts: []job.Attempt{
					{Number: 1, Worker: "worker-1", StartedAt: at, EndedAt: &at, Outcome: job.OutcomeCompleted},
				},
				Subject: fmt.Sprint("owner-", n%1000), Lane: "default"},
			Version: 1, Tenant: tenant, PayloadHash: "sha256:1",
			Policy: policy(), Accepted: true, Dispatch: 1, RoundAt: at,
		}
		p := kafka.Partition(j.Doc.JobID, id.Partitions)
		if kept > 0 {
			j.Doc.Streams = job.Streams{"tokens": {Kind: job.StreamText, Total: int64(kept)}}
			streams[p] = append(streams[p], store.StreamsChange{ID: j.Doc.JobID, Row: texts(n), Closed: true})
		}
		if changes[p] = append(changes[p], store.Change{ID: j.Doc.JobID, Job: j}); len(changes[p]) == 1000 {
			flush(p)
		}
	}
	for p := range changes {
		flush(int32(p))
	}
	if err := st.Close(); err != nil {
		b.Fatal(err)
	}
}

// keptTexts returns a function that returns the row of the n-th job: what the keeper says of a stream of so many bytes,
// and the bytes, which hardly compress.
func keptTexts(size int) func(n int) []byte {
	const alphabet = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,"
	rng := rand.New(rand.NewPCG(1, 20))
	pool := make([]byte, size+1<<20)
	for i := range pool {
		pool[i] = alphabet[rng.IntN(len(alphabet))]
	}
	return func(n int) []byte {
		head := fmt.Sprintf(`{"dispatch":1,"run":"ZX44SL23FUU65CEY54T6DIGHNK","streams":{"tokens":{"kind":"text","end":%d,`+
			`"bytes":%d}},"kept":[{"name":"tokens","lengths":[[%d,%d]]}]}`, size, size, size, size)
		from := n * 7919 % (1 << 20)
		return append([]byte(head), pool[from:from+size]...)
	}
}

// BenchmarkMemory holds a million ended jobs on the disk and 10,000 that run, in twelve
// shards, and tells what the process takes then.
func BenchmarkMemory(b *testing.B) {
	const ended, active, parts = 1_000_000, 10_000, 12
	id := benchID
	many := identity
	many.Partitions = parts
	for b.Loop() {
		dir := b.TempDir()
		empty := resident(b)
		fillEnded(b, dir, many, ended)
		began := time.Now()
		st, err := store.Open(vfs.Default, dir, many, store.Options{}, quiet)
		if err != nil || st.SetAside() != "" {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "open-s")
		ctx, cancel := context.WithCancel(context.Background())
		var shards []*Shard
		var run sync.WaitGroup
		metrics := NewMetrics(meter.New(prometheus.NewRegistry(), "tracker"))
		for p := range int32(parts) {
			s := New(Config{
				Partition: p, Partitions: parts, Names: names, Store: st.Partition(p), Kafka: endsAt{offset: 1},
				Metrics: metrics, Log: quiet,
			})
			shards = append(shards, s)
			run.Go(func() {
				if err := s.Run(ctx); err != nil {
					b.Error(err)
				}
			})
		}
		policy := policy()
		offsets := make([]int64, parts)
		for n := ended; n < ended+active; n++ {
			p := kafka.Partition(id(n), parts)
			v := value(b, event.Event{Type: event.Claimed, JobID: id(n), Dispatch: 1, Run: "r", Worker: "w", Job: "demo.echo",
				Tenant: tenant, Lane: "default",
				PayloadHash: "sha256:1", Policy: &policy, Request: &event.Position{Topic: names.Requests("default")}})
			offsets[p]++
			shards[p].Fold(ctx, []*kgo.Record{
				{Topic: names.Status(), Partition: p, Key: []byte(id(n)), Value: v, Offset: offsets[p], Timestamp: time.Now()},
			})
		}
		// Questions at random warm the cache up.
		for n := 0; n < 200_000; n += 7 {
			k := n * 31 % ended
			q := Query{JobID: id(k), Scope: Scope{Tenant: tenant}}
			if _, err := shards[kafka.Partition(id(k), parts)].Get(ctx, q); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(resident(b), "RSS-MB")
		b.ReportMetric(empty, "empty-MB")
		cancel()
		run.Wait()
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
	}
	runtime.GC()
	b.ReportMetric(0, "ns/op")
}
