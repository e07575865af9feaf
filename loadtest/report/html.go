package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
)

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"ms": Millis, "n": short, "share": func(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) },
	"join": strings.Join, "title": func(i history.Invariant) string { return history.Titles[i] },
}).Parse(page))

// Labels are the names of the series in reports.
var Labels = map[measure.Series]string{
	measure.Ack: "submit → ack", measure.End: "submit → end", measure.Get: "GET after an ack",
	measure.Connect: "connect → welcome", measure.Resume: "reconnect → watches taken up",
	measure.Spread:  "first watcher → each other, at a job's end",
	measure.SlowAck: "submit → ack, slow clients", measure.SlowEnd: "submit → end, slow clients",
	measure.Lag: "due → written (the generator's own delay)",
}

// Millis returns a number of milliseconds in a unit that fits.
func Millis(v float64) string {
	switch {
	case v >= 60_000:
		return time.Duration(v * float64(time.Millisecond)).Round(time.Second).String()
	case v >= 1000:
		return short(v/1000) + " s"
	case v < 1:
		return fmt.Sprintf("%.0f µs", 1000*v)
	}
	return short(v) + " ms"
}

// view has the values for the page's template.
type view struct {
	*measure.Result
	Verdicts  []invariant
	Status    string // holds, violated, brokenOff
	Series    []seriesRow
	Charts    []chart
	Curve     chart
	Errors    []countRow
	Losses    []countRow
	Generated string
}

type invariant struct {
	Name   history.Invariant
	Broken int
}

type seriesRow struct {
	Label string
	measure.Summary
}

type countRow struct {
	Name string
	N    int64
}

// HTML writes the report as one file that loads no others.
func HTML(w io.Writer, r *measure.Result) error {
	v := view{
		Result: r, Status: "holds", Errors: counted(r.Errors), Losses: counted(r.Losses), Charts: timeline(r),
		Curve: curve(r),
	}
	if r.Verdict != nil {
		broken := map[history.Invariant]int{}
		for _, x := range r.Verdict.Violations {
			broken[x.Invariant]++
		}
		for _, i := range history.Invariants {
			v.Verdicts = append(v.Verdicts, invariant{i, broken[i]})
		}
		switch {
		case r.Verdict.Found > 0:
			v.Status = "violated"
		case r.BrokenOff || !r.Verdict.Complete:
			v.Status = "brokenOff"
		}
	}
	for _, name := range measure.AllSeries {
		if s, ok := r.Latencies[name]; ok {
			v.Series = append(v.Series, seriesRow{Labels[name], s})
		}
	}
	return pageTemplate.Execute(w, v)
}

func counted(m map[string]int64) []countRow {
	rows := make([]countRow, 0, len(m))
	for name, n := range m {
		rows = append(rows, countRow{name, n})
	}
	slices.SortFunc(rows, func(a, b countRow) int {
		if a.N != b.N {
			return int(b.N - a.N)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return rows
}

// timeline returns the charts over time.
func timeline(r *measure.Result) []chart {
	if len(r.Timeline) == 0 {
		return nil
	}
	base := chart{Bands: bands(r)}
	for i, p := range r.Timeline {
		base.X = append(base.X, fmt.Sprintf("%.0f s", p.At))
		if i%max(1, (len(r.Timeline)+9)/10) == 0 {
			base.Ticks = append(base.Ticks, i)
		}
	}
	plot := func(title, unit string, log bool, lines ...line) chart {
		c := base
		c.Title = title
		c.Unit = unit
		c.Log = log
		c.Lines = lines
		return c
	}
	of := func(name string, dash bool, value func(measure.Point) float64) line {
		l := line{Name: name, Dashed: dash}
		for _, p := range r.Timeline {
			l.Values = append(l.Values, value(p))
		}
		return l
	}
	// A quantile of an interval without values is a gap, not a 0.
	gap := func(v float64) float64 {
		if v <= 0 {
			return math.NaN()
		}
		return v
	}
	return []chart{
		plot("Throughput", "per s", false,
			of("due", true, func(p measure.Point) float64 { return p.Arrivals }),
			of("acked", false, func(p measure.Point) float64 { return p.Acked }),
			of("ended", false, func(p measure.Point) float64 { return p.Ended }),
			of("errors", false, func(p measure.Point) float64 { return p.Errors })),
		plot("Submit to ack", "ms", true,
			of("p50", false, func(p measure.Point) float64 { return gap(p.AckP50) }),
			of("p99", false, func(p measure.Point) float64 { return gap(p.AckP99) })),
		plot("Submit to end", "ms", true,
			of("p50", false, func(p measure.Point) float64 { return gap(p.EndP50) }),
			of("p99", false, func(p measure.Point) float64 { return gap(p.EndP99) })),
		plot("Sockets", "open", false,
			of("open", false, func(p measure.Point) float64 { return float64(p.Sockets) })),
		plot("What waits", "", false,
			of("open jobs", false, func(p measure.Point) float64 { return float64(p.Open) }),
			of("unanswered", false, func(p measure.Point) float64 { return float64(p.InFlight) }),
			of("backlog", true, func(p measure.Point) float64 { return float64(p.Backlog) })),
		plot("The generator: its latest submit of each interval", "ms", true,
			of("late by at most", false, func(p measure.Point) float64 { return gap(p.LagMax) })),
		plot("The generator's machine", "cores", false,
			of("generator", false, func(p measure.Point) float64 { return p.CPU }),
			of("whole machine", false, func(p measure.Point) float64 {
				if p.Busy < 0 {
					return math.NaN()
				}
				return p.Busy * float64(r.Machine.Cores)
			})),
	}
}

// bands returns the phases on the timeline, and the time after them.
func bands(r *measure.Result) []band {
	index := func(t float64) int {
		i, _ := slices.BinarySearchFunc(r.Timeline, t, func(p measure.Point, t float64) int {
			switch {
			case p.At < t-1e-9:
				return -1
			case p.At > t+1e-9:
				return 1
			}
			return 0
		})
		return min(i, len(r.Timeline)-1)
	}
	var out []band
	for _, p := range r.Phases {
		out = append(out, band{index(p.Begin), index(p.Begin + p.Seconds), p.Name})
	}
	return out
}

// curve returns the chart of the latencies' distributions, over percentiles.
func curve(r *measure.Result) chart {
	c := chart{Title: "Distribution", Unit: "ms", Log: true}
	for i, q := range measure.Percentiles {
		c.X = append(c.X, fmt.Sprintf("p%g", q))
		c.Ticks = append(c.Ticks, i)
	}
	for _, name := range []measure.Series{measure.Ack, measure.End, measure.Get, measure.Lag} {
		if s := r.Latencies[name]; len(s.Curve) == len(measure.Percentiles) {
			c.Lines = append(c.Lines, line{Name: Labels[name], Values: s.Curve, Dashed: name == measure.Lag})
		}
	}
	for i := range c.Lines {
		c.Lines[i].Name, _, _ = strings.Cut(c.Lines[i].Name, " (")
	}
	return c
}
