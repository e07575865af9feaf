package embedded_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded"
)

// BenchmarkBatch compares 1,000 jobs in one batch with 1,000 single submits over 32 connections, both over HTTP, to one
// embedded Ackwire with its own broker, without and with idempotency keys. They alternate, so that both have the same
// share of the machine; the ratio is of one run.
func BenchmarkBatch(b *testing.B) {
	b.Run("no-keys", func(b *testing.B) { compareBatch(b, ackwire.NoKey()) })
	b.Run("keys", func(b *testing.B) { compareBatch(b, ackwire.Key("")) })
}

func compareBatch(b *testing.B, key ackwire.SubmitOption) {
	const jobs, connections = 1000, 32
	ctx := context.Background()
	srv, err := embedded.Start(ctx, embedded.Config{Data: b.TempDir(), Listen: "127.0.0.1:0"},
		embedded.WithLogger(slog.New(slog.NewTextHandler(io.Discard, nil))))
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := srv.Stop(); err != nil {
			b.Error(err)
		}
	}()
	transport := &http.Transport{MaxConnsPerHost: connections, MaxIdleConnsPerHost: connections}
	defer transport.CloseIdleConnections()
	api, err := ackwire.NewHTTP(srv.URL(), ackwire.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		b.Fatal(err)
	}
	var batched, single time.Duration
	payload := map[string]any{"reportType": "sales", "from": "2026-01-01", "to": "2026-01-31"}
	for b.Loop() {
		items := make([]ackwire.BatchItem, jobs)
		for i := range items {
			items[i] = ackwire.BatchItem{Type: "demo.echo", Payload: payload, Options: []ackwire.SubmitOption{key}}
		}
		began := time.Now()
		results, err := api.SubmitBatch(ctx, items)
		batched += time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil {
				b.Fatalf("item %d: %v", i, r.Err)
			}
		}
		began = time.Now()
		var next atomic.Int64
		var clients sync.WaitGroup
		for range connections {
			clients.Go(func() {
				for next.Add(1) <= jobs {
					if _, err := api.Submit(ctx, "demo.echo", payload, key); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		clients.Wait()
		single += time.Since(began)
	}
	b.ReportMetric(float64(batched.Microseconds())/float64(b.N*jobs), "batch-µs/job")
	b.ReportMetric(float64(single.Microseconds())/float64(b.N*jobs), "single-µs/job")
	b.ReportMetric(float64(single)/float64(batched), "single/batch")
}
