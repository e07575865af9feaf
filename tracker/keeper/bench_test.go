package keeper

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// BenchmarkTake measures how many records a second a keeper takes: small ones of a thousand jobs.
func BenchmarkTake(b *testing.B) {
	w := newWorld(b, 1)
	const jobs = 1000
	for i := range jobs {
		w.facts[fmt.Sprint(i)] = Facts{Found: true, Life: "l", Dispatch: 1, Run: "r"}
	}
	value := []byte(strings.Repeat("x", 40))
	for i := range b.N {
		w.put(stream.Chunk{JobID: fmt.Sprint(i % jobs), Stream: "s", Kind: job.StreamText, Dispatch: 1, Run: "r",
			From: int64(i / jobs * len(value)), Value: value})
	}
	b.ResetTimer()
	w.start()
	for {
		w.keeper.mu.Lock()
		done := w.keeper.next >= int64(b.N)
		w.keeper.mu.Unlock()
		if done {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	w.end()
}

// BenchmarkTold measures what a fold that changes a job's writer does for the keeper, while that takes records.
func BenchmarkTold(b *testing.B) {
	w := newWorld(b, 1)
	w.start()
	defer w.end()
	for i := range b.N {
		w.keeper.Told("job-" + string(rune('a'+i%26)))
	}
}
