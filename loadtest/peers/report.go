package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
)

// report is the result of a comparison.
type report struct {
	versions []string
	rates    []float64
	bounds   pace.Bounds
	rows     []row
}

// print writes the report as a table in Markdown.
func (r report) print(w io.Writer) {
	fmt.Fprintf(w, "%s, %d cores, %s; %s\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(),
		strings.Join(r.versions, "; "))
	r.table(w)
	fmt.Fprintf(w, "\nMilliseconds at p50 / p99, counted from when a job was due; the median of the rounds. "+
		"Highest rate: ack p99 within %v, end p99 within %v, nothing failed.\n", r.bounds.Ack, r.bounds.End)
}

func (r report) table(w io.Writer) {
	head, line := "| |", "|---|"
	for _, rate := range r.rates {
		head += fmt.Sprintf(" ack at %g/s | end at %g/s |", rate, rate)
		line += "---|---|"
	}
	fmt.Fprintf(w, "%s highest rate |\n%s---|\n", head, line)
	for _, row := range r.rows {
		cells := row.name
		for _, rate := range r.rates {
			cells += " | " + row.cell(rate, func(r pace.Result) measure.Summary { return r.Ack }) +
				" | " + row.cell(rate, func(r pace.Result) measure.Summary { return r.End })
		}
		highest := "-"
		if row.highest > 0 {
			highest = fmt.Sprintf("%g/s", row.highest)
		}
		fmt.Fprintf(w, "| %s | %s |\n", cells, highest)
	}
}

// cell returns the medians of a latency over the rounds. A rate that was too high in half of the rounds, or in more,
// has none.
func (r row) cell(rate float64, of func(pace.Result) measure.Summary) string {
	var p50, p99 []float64
	for _, result := range r.results[rate] {
		if result.Problem == "" {
			p50, p99 = append(p50, of(result).P50), append(p99, of(result).P99)
		}
	}
	switch rounds := len(r.results[rate]); {
	case rounds == 0:
		return "-"
	case 2*len(p50) <= rounds:
		return "falls behind"
	}
	return fmt.Sprintf("%.1f / %.1f", median(p50), median(p99))
}

func median(values []float64) float64 {
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}
