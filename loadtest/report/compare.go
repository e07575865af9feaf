package report

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"text/tabwriter"

	"github.com/ackwire/ackwire/loadtest/measure"
)

// Comparison is the comparison of two runs, A and B.
type Comparison struct {
	A    string  `json:"a"`
	B    string  `json:"b"`
	Rows []Row   `json:"rows"`
	Max  float64 `json:"threshold"`
	// Warnings say why the two runs can hardly be compared.
	Warnings []string `json:"warnings"`
	// Worse reports that at least one row is worse in B.
	Worse bool `json:"worse"`
}

// Row is one figure of both runs.
type Row struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	A     float64 `json:"a"`
	B     float64 `json:"b"`
	Ratio float64 `json:"ratio"` // B over A; 0 where A is 0
	Worse bool    `json:"worse"`
	// Note says why the row cannot be worse.
	Note string `json:"note,omitempty"`
}

// Differences below these do not count as worse.
const (
	minValues  = 100 // with fewer values a p99 says little
	latencyGap = 1.0 // milliseconds by which a latency must differ, besides its ratio
	shareGap   = 0.001
	rateGap    = 0.05
)

// ReadResult reads the JSON report of a run.
func ReadResult(name string) (*measure.Result, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var r measure.Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if r.Format != measure.ResultFormat {
		return nil, fmt.Errorf("%s is no report of this program: format %d, not %d", name, r.Format, measure.ResultFormat)
	}
	return &r, nil
}

// Compare compares b with a. A figure is worse when it is more than threshold times a's and differs by more than noise.
func Compare(a, b *measure.Result, threshold float64) Comparison {
	c := Comparison{Max: threshold, Rows: []Row{}, Warnings: []string{}}
	c.warn(a, b)
	for _, name := range measure.AllSeries {
		x, inA := a.Latencies[name]
		y, inB := b.Latencies[name]
		if !inA || !inB {
			continue
		}
		c.latency(Labels[name]+", p50", x.P50, y.P50, x.Count, y.Count, 1)
		c.latency(Labels[name]+", p99", x.P99, y.P99, x.Count, y.Count, minValues)
	}
	of := func(n int64, r *measure.Result) float64 {
		return 100 * float64(n) / math.Max(1, float64(r.Counts.Arrivals))
	}
	c.share("refused", of(a.Counts.Refused, a), of(b.Counts.Refused, b))
	c.share("unanswered", of(a.Counts.Unanswered, a), of(b.Counts.Unanswered, b))
	c.share("ended otherwise than expected", of(a.Counts.Unexpected, a), of(b.Counts.Unexpected, b))
	c.count("sockets lost", a.Counts.Losses, b.Counts.Losses)
	if a.Verdict != nil && b.Verdict != nil {
		c.count("violations", a.Verdict.Found, b.Verdict.Found)
	}
	return c
}

func (c *Comparison) warn(a, b *measure.Result) {
	w := func(format string, args ...any) { c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...)) }
	if a.Scenario != b.Scenario {
		w("different scenarios: %s and %s", a.Scenario, b.Scenario)
	}
	if math.Abs(a.Rate-b.Rate) > rateGap*math.Max(a.Rate, b.Rate) {
		w("different load: %.1f and %.1f arrivals per second", a.Rate, b.Rate)
	}
	if a.Sockets != b.Sockets {
		w("different clients: %d and %d", a.Sockets, b.Sockets)
	}
	if a.Machine.Cores != b.Machine.Cores || a.Embedded != b.Embedded {
		w("different machines, or embedded and not")
	}
	for name, r := range map[string]*measure.Result{"first": a, "second": b} {
		if r.Machine.Limited {
			w("the %s was limited by the machine that made its load", name)
		}
		if r.BrokenOff {
			w("the %s was broken off", name)
		}
	}
}

func (c *Comparison) add(r Row, judged bool) {
	if r.A > 0 {
		r.Ratio = r.B / r.A
	}
	r.Worse = judged
	c.Worse = c.Worse || judged
	c.Rows = append(c.Rows, r)
}

func (c *Comparison) latency(name string, a, b float64, na, nb, least int64) {
	r := Row{Name: name, Unit: "ms", A: a, B: b}
	if min(na, nb) < least {
		r.Note = "few values"
		c.add(r, false)
		return
	}
	c.add(r, b > c.Max*a && b-a > latencyGap)
}

// share compares percentages.
func (c *Comparison) share(name string, a, b float64) {
	c.add(Row{Name: name, Unit: "%", A: a, B: b}, b > c.Max*a && b-a > 100*shareGap)
}

func (c *Comparison) count(name string, a, b int64) {
	c.add(Row{Name: name, A: float64(a), B: float64(b)}, float64(b) > c.Max*float64(a))
}

// Print writes the comparison as a table.
func (c Comparison) Print(w io.Writer) error {
	for _, text := range c.Warnings {
		fmt.Fprintln(w, "note:", text)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\t%s\tratio\t\t\n", c.A, c.B)
	for _, r := range c.Rows {
		ratio, verdict := "–", r.Note
		if r.Ratio > 0 {
			ratio = fmt.Sprintf("%.2fx", r.Ratio)
		}
		if r.Worse {
			verdict = "WORSE"
		}
		value := func(v float64) string {
			if r.Unit == "ms" {
				return Millis(v)
			}
			return short(v) + r.Unit
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t  %s\n", value(r.A), value(r.B), ratio, verdict, r.Name)
	}
	return t.Flush()
}
