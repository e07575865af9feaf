// Package live shows the progress of a run: as a view on a terminal, or else as lines.
package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/sparkline"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/report"
	"github.com/ackwire/ackwire/loadtest/scenario"
)

// style gives the view its colours; a test has none.
type style struct {
	title, dim, good, bad, bar func(...string) string
}

const (
	points    = 60 // of the sparklines
	maxErrors = 6  // lines of errors
	barWidth  = 40
)

// draw returns the view of one moment.
func draw(s *scenario.Scenario, where string, now measure.Snapshot, st style) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	c := now.Counts
	p("%s  %s  %s", st.title("ackwire loadtest"), s.Name, st.dim(where))
	total := s.Duration()
	elapsed := min(now.Elapsed, total)
	done := 0
	if total > 0 {
		done = int(barWidth * elapsed / total)
	}
	p("%s%s %s of %s  %s\n", st.bar(strings.Repeat("█", done)), st.dim(strings.Repeat("░", barWidth-done)),
		elapsed.Round(time.Second), total.Round(time.Second), stageOf(s, now))
	number := func(n int64, bad bool) string {
		text := fmt.Sprintf("%9d", n)
		if bad && n > 0 {
			return st.bad(text)
		}
		return text
	}
	p("clients %s of %-6d  due       %s  acked     %s", number(c.Sockets, false), s.Sockets, number(c.Arrivals, false),
		number(c.Acked, false))
	p("cut     %s  %6s  backlog   %s  in flight %s", number(c.Cut, false), "", number(c.Backlog, true),
		number(c.InFlight, false))
	p("lost    %s  %6s  refused   %s  open jobs %s", number(c.Losses, true), "", number(c.Refused, true),
		number(c.Open, false))
	p("dropped %s  %6s  unexpected%s  completed %s\n", number(c.Dropped, true), "", number(c.Unexpected, true),
		number(c.Completed, false))

	p("%s", st.dim(fmt.Sprintf("%-16s %10s %10s %10s %10s", "since the start", "p50", "p90", "p99", "max")))
	for _, row := range []struct {
		name string
		measure.Summary
	}{{"submit → ack", now.Ack}, {"submit → end", now.End}} {
		if row.Count == 0 {
			p("%-16s %10s", row.name, "–")
			continue
		}
		p("%-16s %10s %10s %10s %10s", row.name, report.Millis(row.P50), report.Millis(row.P90), report.Millis(row.P99),
			report.Millis(row.Max))
	}
	p("")
	if n := len(now.Last); n > 0 {
		last := now.Last[n-1]
		spark := func(name, unit string, of func(measure.Point) float64, value float64) {
			p("%-16s %s %s", name, newest(now.Last, of), st.dim(fmt.Sprintf("%.4g %s", value, unit)))
		}
		spark("acked", "per s", func(p measure.Point) float64 { return p.Acked }, last.Acked)
		spark("ack p99", "ms", func(p measure.Point) float64 { return p.AckP99 }, last.AckP99)
		spark("late at most", "ms (the generator itself)", func(p measure.Point) float64 { return p.LagMax }, last.LagMax)
		if last.Busy >= 0 {
			spark("machine busy", "%", func(p measure.Point) float64 { return p.Busy }, 100*last.Busy)
		}
		p("")
	}
	for _, line := range worst(now) {
		p("%s", st.bad(line))
	}
	p("%s", st.dim("q or Ctrl-C breaks the run off; what was seen up to then is checked"))
	return b.String()
}

// stageOf describes what the run does now.
func stageOf(s *scenario.Scenario, now measure.Snapshot) string {
	if now.Phase < 0 || now.Phase >= len(s.Phases) {
		return now.Stage
	}
	p := s.Phases[now.Phase]
	rate := fmt.Sprintf("%g/s", p.From)
	if p.From != p.To {
		rate = fmt.Sprintf("%g → %g/s", p.From, p.To)
	}
	return fmt.Sprintf("%s (%s)", now.Stage, rate)
}

// worst lists the errors and lost sockets, the most frequent first.
func worst(now measure.Snapshot) []string {
	type row struct {
		text string
		n    int64
	}
	var rows []row
	for name, n := range now.Errors {
		rows = append(rows, row{name, n})
	}
	for name, n := range now.Losses {
		rows = append(rows, row{"socket lost: " + name, n})
	}
	slices.SortFunc(rows, func(a, b row) int {
		if a.n != b.n {
			return int(b.n - a.n)
		}
		return strings.Compare(a.text, b.text)
	})
	var out []string
	for _, r := range rows[:min(len(rows), maxErrors)] {
		out = append(out, fmt.Sprintf("%7d × %s", r.n, r.text))
	}
	return out
}

// newest draws the newest points of a figure.
func newest(last []measure.Point, of func(measure.Point) float64) string {
	values := make([]float64, len(last))
	for i, p := range last {
		values[i] = of(p)
	}
	return strings.Repeat(" ", max(0, points-len(last))) + sparkline.Draw(values)
}

// oneLine returns one moment as one line.
func oneLine(s *scenario.Scenario, now measure.Snapshot) string {
	c := now.Counts
	line := fmt.Sprintf("%6s  %-28s %d clients  %d due  %d acked  %d open jobs", now.Elapsed.Round(time.Second),
		stageOf(s, now), c.Sockets, c.Arrivals, c.Acked, c.Open)
	if now.Ack.Count > 0 {
		line += fmt.Sprintf("  ack p50 %s p99 %s", report.Millis(now.Ack.P50), report.Millis(now.Ack.P99))
	}
	for _, bad := range []struct {
		n    int64
		what string
	}{{c.Backlog, "backlog"}, {c.Refused, "refused"}, {c.Losses, "lost"}, {c.Dropped, "dropped"}, {c.Unexpected,
		"unexpected"}} {
		if bad.n > 0 {
			line += fmt.Sprintf("  %d %s", bad.n, bad.what)
		}
	}
	return line
}
