package tracker

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/history"
)

// BenchmarkHistory reads the history of a job with 10,000 reports, among as many records of another job, from Kafka:
// its first page, and all of it. The broker is kfake, in this process, unless ACKWIRE_BENCH_KAFKA names one.
func BenchmarkHistory(b *testing.B) {
	const reports = 10_000
	cfg := kafka.Config{Brokers: []string{os.Getenv("ACKWIRE_BENCH_KAFKA")}}
	if cfg.Brokers[0] == "" {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
		if err != nil {
			b.Fatal(err)
		}
		defer cluster.Close()
		cfg.Brokers = cluster.ListenAddrs()
	}
	env := service.OS(slog.New(slog.DiscardHandler))
	env.Metrics = prometheus.NewRegistry()
	names := topic.Names{Prefix: fmt.Sprintf("bench%d.", time.Now().UnixNano())}
	admin, err := cfg.NewClient(env, "bench", fetch.Options()...)
	if err != nil {
		b.Fatal(err)
	}
	defer admin.Close()
	if _, err := kafka.EnsureTopics(b.Context(), admin, kafka.Topic(names.StatusSpec(1))); err != nil {
		b.Fatal(err)
	}
	p := policy()
	made := event.Event{Type: event.Accepted, JobID: "job", Life: "l1", Job: "demo.echo", Tenant: tenant, Lane: "default",
		PayloadHash: "sha256:1", Policy: &p, Request: &event.Position{Topic: "r"}}
	claim := made
	claim.Type, claim.Dispatch = event.Claimed, 1
	claim.Run, claim.Worker = "r1", "w"
	all := []event.Event{made, claim}
	for i := range reports {
		all = append(all, event.Event{Type: event.Beat, JobID: "other", Dispatch: 1, Run: "r2", Worker: "w"},
			event.Event{Type: event.Progress, JobID: "job", Dispatch: 1, Run: "r1", Worker: "w",
				Progress: &job.Progress{Percent: float64(i) / reports * 100, Message: "step"}})
	}
	records := make([]*kgo.Record, len(all))
	for i := range all {
		value, err := event.Encode(&all[i])
		if err != nil {
			b.Fatal(err)
		}
		records[i] = &kgo.Record{Topic: names.Status(), Key: []byte(all[i].JobID), Value: value}
	}
	if err := admin.ProduceSync(b.Context(), records...).FirstErr(); err != nil {
		b.Fatal(err)
	}
	o := &owner{names: names, admin: admin, fetcher: fetch.New(admin), bounds: cfg.Bounds()}
	first, err := o.fetcher.First(b.Context(), event.Position{Topic: names.Status()})
	if err != nil {
		b.Fatal(err)
	}
	j := fold.Fold(nil, &all[0], fold.Meta{Offset: first.Offset, Time: first.Timestamp}).Job
	q := history.Query{JobID: "job", Life: "l1", Created: j.Doc.CreatedAt, Version: int64(len(all)),
		Folded: int64(len(all)), ByWriter: o.ByWriter}
	metrics := history.NewMetrics(meter.New(prometheus.NewRegistry(), "tracker"))
	read := func(b *testing.B, limit int, whole bool) {
		for b.Loop() {
			r, q, n := history.NewReader(metrics), q, 0
			q.Limit = limit
			for more := true; more; {
				page, err := r.Read(b.Context(), o.History(0), q)
				if err != nil || page.Truncated {
					b.Fatal(err, page.Truncated)
				}
				n += len(page.Events)
				q.From, q.FromLife = page.Next, q.Life
				more = whole && page.Next != 0
			}
			if whole && n != reports+2 || !whole && n != limit {
				b.Fatal(n)
			}
		}
	}
	b.Run("page", func(b *testing.B) { read(b, 200, false) })
	b.Run("all", func(b *testing.B) { read(b, 1000, true) })
}
