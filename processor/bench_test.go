package processor

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
)

// BenchmarkJobs measures a job's whole way through a worker, from its request to its durable outcome, with
// a broker in the same process and loopback connections.
func BenchmarkJobs(b *testing.B) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		b.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	env := service.OS(slog.New(slog.DiscardHandler))
	cfg := Config{Brokers: cluster.ListenAddrs(), Slots: 256}
	p, err := New(cfg, within(env)...)
	if err != nil {
		b.Fatal(err)
	}
	HandleRaw(p, "echo", echo)
	names := topic.Names{Prefix: topic.DefaultPrefix}
	runCtx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- p.Run(runCtx) }()
	tick := time.NewTicker(10 * time.Millisecond)
	for p.Ready() != nil {
		<-tick.C
	}
	tick.Stop()
	client, err := cfg.kafka().NewClient(env, "bench", kgo.ConsumeTopics(names.Status()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for b.Loop() {
		// One job at a time would measure latency only, so each iteration is a batch.
		benchBatch(ctx, b, client, names)
	}
	b.ReportMetric(float64(b.N*benchJobs)/b.Elapsed().Seconds(), "jobs/s")
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

const benchJobs = 1000

func benchBatch(ctx context.Context, b *testing.B, client *kgo.Client, names topic.Names) {
	for range benchJobs {
		req := request(newRunID(), "echo")
		headers, err := req.Headers()
		if err != nil {
			b.Fatal(err)
		}
		rec := &kgo.Record{Topic: names.Requests("default"), Key: []byte(req.JobID), Value: []byte(`{"n":1}`)}
		for _, h := range headers {
			rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
		kafka.Produce(ctx, client, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	for completed := 0; completed < benchJobs && ctx.Err() == nil; {
		client.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			if e, err := event.Decode(rec.Value); err == nil && e.Type == event.Completed {
				completed++
			} else if err == nil && e.Type == event.Claimed {
				order, err := event.EncodeOrder(event.Order{
					Type: event.Granted, JobID: e.JobID, Dispatch: e.Dispatch, Run: e.Run, Worker: e.Worker,
				})
				if err != nil {
					b.Error(err)
				}
				kafka.Produce(ctx, client, &kgo.Record{Topic: names.Control(), Key: []byte(e.Worker), Value: order},
					func(*kgo.Record, error) {})
			}
		})
	}
}
