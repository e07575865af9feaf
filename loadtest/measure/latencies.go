// Package measure records the measurements of a run: histograms, counters, a timeline, and the limits of the machine
// that makes the load.
package measure

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of a histogram: microseconds, three digits.
const (
	lowest  = 1
	highest = int64(time.Hour / time.Microsecond)
	digits  = 3
)

// Latencies is a histogram of durations that many goroutines may record into.
type Latencies struct {
	mu     sync.Mutex // guards all below
	h      *hdrhistogram.Histogram
	failed int
}

// NewLatencies returns an empty histogram.
func NewLatencies() *Latencies {
	return &Latencies{h: hdrhistogram.New(lowest, highest, digits)}
}

// Record adds one outcome.
func (l *Latencies) Record(d time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.failed++
		return
	}
	_ = l.h.RecordValue(min(max(d.Microseconds(), lowest), highest))
}

// Quantile returns the latency below which q percent of the values are.
func (l *Latencies) Quantile(q float64) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.h.ValueAtQuantile(q)) * time.Microsecond
}

// Counts returns the numbers of successes and failures.
func (l *Latencies) Counts() (succeeded int64, failed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h.TotalCount(), l.failed
}

// Summary is one histogram; times in milliseconds.
type Summary struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p999"`
	Max   float64 `json:"max"`
	// Curve has the latency at each of Percentiles; it is empty without values.
	Curve []float64 `json:"curve,omitempty"`
}

// Percentiles are the percentiles of a Summary's Curve.
var Percentiles = []float64{0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}

func millis(us float64) float64 { return us / 1000 }

// Summary returns a summary of the values so far.
func (l *Latencies) Summary() Summary {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.h.TotalCount() == 0 {
		return Summary{}
	}
	at := func(q float64) float64 { return millis(float64(l.h.ValueAtQuantile(q))) }
	s := Summary{
		Count: l.h.TotalCount(), Mean: millis(l.h.Mean()),
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: millis(float64(l.h.Max())),
	}
	for _, q := range Percentiles {
		s.Curve = append(s.Curve, at(q))
	}
	return s
}

// take returns p50 and p99 in milliseconds and empties the histogram.
func (l *Latencies) take() (count int64, p50, p99, most float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if count = l.h.TotalCount(); count == 0 {
		return
	}
	p50, p99 = millis(float64(l.h.ValueAtQuantile(50))), millis(float64(l.h.ValueAtQuantile(99)))
	most = millis(float64(l.h.Max()))
	l.h.Reset()
	return
}
