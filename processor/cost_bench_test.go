package processor

import (
	"context"
	"log/slog"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
)

// cpu returns the CPU time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rig is a broker, and a client that plays the gateway and the tracker.
type rig struct {
	b       *testing.B
	ctx     context.Context
	cluster *kfake.Cluster
	env     service.Env
	names   topic.Names
	client  *kgo.Client
}

func newRig(b *testing.B) *rig {
	b.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(cluster.Close)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	b.Cleanup(cancel)
	r := &rig{
		b: b, ctx: ctx, cluster: cluster, env: service.OS(slog.New(slog.DiscardHandler)),
		names: topic.Names{Prefix: topic.DefaultPrefix},
	}
	if r.client, err = r.config().kafka().NewClient(r.env, "bench", kgo.ConsumeTopics(r.names.Status())); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(r.client.Close)
	for _, s := range []topic.Spec{r.names.StatusSpec(12), r.names.ControlSpec(12), r.names.DeadSpec(),
		r.names.RequestsSpec("default", 12)} {
		if _, err := kafka.EnsureTopics(ctx, r.client, kafka.Topic(s)); err != nil {
			b.Fatal(err)
		}
	}
	return r
}

func (r *rig) config() Config {
	return Config{Brokers: r.cluster.ListenAddrs(), Slots: 64}
}

// worker runs a worker whose handler does nothing, until the benchmark's end.
func (r *rig) worker() {
	r.b.Helper()
	p, err := New(r.config(), quiet())
	if err != nil {
		r.b.Fatal(err)
	}
	HandleRaw(p, "echo", echo)
	ctx, stop := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	r.b.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			r.b.Error(err)
		}
	})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for p.Ready() != nil {
		<-tick.C
	}
}

// raw makes the same Kafka requests as a worker makes for one job, with bare clients.
func (r *rig) raw() {
	r.b.Helper()
	cl, err := r.config().kafka().NewClient(r.env, "raw", kgo.ConsumerGroup("raw"),
		kgo.ConsumeTopics(r.names.Requests("default")))
	if err != nil {
		r.b.Fatal(err)
	}
	ctx, stop := context.WithCancel(r.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			cl.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
				say := func(t event.Type, then func(*kgo.Record, error)) {
					e := event.Event{Type: t, JobID: string(rec.Key), Dispatch: 1, Run: "raw", Worker: "raw", Result: rec.Value}
					value, err := event.Encode(&e)
					if err != nil {
						r.b.Error(err)
					}
					kafka.Produce(ctx, cl, &kgo.Record{Topic: r.names.Status(), Key: rec.Key, Value: value}, then)
				}
				say(event.Beat, func(*kgo.Record, error) { say(event.Completed, func(*kgo.Record, error) {}) })
			})
		}
	}()
	r.b.Cleanup(func() {
		stop()
		<-done
		cl.Close()
	})
}

// submit produces n requests. Then work grants the claims that wait, and waits for the ends of all jobs.
func (r *rig) submit(n int) {
	for range n {
		req := request(newRunID(), "echo")
		headers, err := req.Headers()
		if err != nil {
			r.b.Fatal(err)
		}
		rec := &kgo.Record{Topic: r.names.Requests("default"), Key: []byte(req.JobID), Value: []byte(`{"n":1}`)}
		for _, h := range headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader(h))
		}
		kafka.Produce(r.ctx, r.client, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				r.b.Error(err)
			}
		})
	}
	if err := r.client.Flush(r.ctx); err != nil {
		r.b.Fatal(err)
	}
}

func (r *rig) work(n int) {
	for ended := 0; ended < n && r.ctx.Err() == nil; {
		r.client.PollFetches(r.ctx).EachRecord(func(rec *kgo.Record) {
			e, err := event.Decode(rec.Value)
			switch {
			case err != nil:
			case e.Type == event.Completed:
				ended++
			case e.Type == event.Claimed && !e.NoGrant:
				order, err := event.EncodeOrder(event.Order{
					Type: event.Granted, JobID: e.JobID, Dispatch: e.Dispatch, Run: e.Run, Worker: e.Worker,
				})
				if err != nil {
					r.b.Error(err)
				}
				kafka.Produce(r.ctx, r.client, &kgo.Record{Topic: r.names.Control(), Key: []byte(e.Worker), Value: order},
					func(*kgo.Record, error) {})
			}
		})
	}
}

// BenchmarkCost measures jobs/s of a handler that does nothing, in one worker with 64 slots, and the CPU time of a job
// including broker and clients. It compares new records, a backlog of 10,000 from before the worker's start, and bare
// clients that consume one record and produce two.
func BenchmarkCost(b *testing.B) {
	const jobs = 10_000
	measure := func(b *testing.B, run func(r *rig)) {
		var took, used time.Duration
		for b.Loop() {
			b.StopTimer()
			r := newRig(b)
			began, before := time.Now(), cpu(b)
			run(r)
			took, used = took+time.Since(began), used+cpu(b)-before
			b.StartTimer()
		}
		b.ReportMetric(float64(b.N*jobs)/took.Seconds(), "jobs/s")
		b.ReportMetric(float64(used.Microseconds())/float64(b.N*jobs), "cpu-us/job")
		b.ReportMetric(0, "ns/op")
	}
	b.Run("new", func(b *testing.B) {
		measure(b, func(r *rig) { r.worker(); r.submit(jobs); r.work(jobs) })
	})
	b.Run("backlog", func(b *testing.B) {
		measure(b, func(r *rig) { r.submit(jobs); r.worker(); r.work(jobs) })
	})
	b.Run("raw", func(b *testing.B) {
		measure(b, func(r *rig) { r.raw(); r.submit(jobs); r.work(jobs) })
	})
}
