package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/ackwire/ackwire/loadtest/measure"
)

// Print writes the result as text, without the verdict's violations.
func Print(w io.Writer, r *measure.Result) error {
	c := r.Counts
	fmt.Fprintf(w, "%s: %d due, %d acked, %d completed, %d failed, %d cancelled, %d refused, %d unanswered, %d dropped\n",
		r.Scenario, c.Arrivals, c.Acked, c.Completed, c.Failed, c.Cancelled, c.Refused, c.Unanswered, c.Dropped)
	fmt.Fprintf(w, "%d clients: %d connects, %d cut by the scenario, %d lost\n\n", r.Sockets, c.Connects, c.Cut, c.Losses)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "count\tp50\tp90\tp99\tp99.9\tmax\t")
	for _, name := range measure.AllSeries {
		if s, ok := r.Latencies[name]; ok {
			fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t  %s\n", s.Count, Millis(s.P50), Millis(s.P90), Millis(s.P99),
				Millis(s.P999), Millis(s.Max), Labels[name])
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, list := range []struct {
		what string
		rows []countRow
	}{{"errors", counted(r.Errors)}, {"sockets lost", counted(r.Losses)}} {
		if len(list.rows) > 0 {
			fmt.Fprintf(w, "\n%s:", list.what)
			for _, row := range list.rows {
				fmt.Fprintf(w, "  %d × %s", row.N, row.Name)
			}
			fmt.Fprintln(w)
		}
	}
	fmt.Fprintln(w)
	for _, f := range r.Machine.Findings {
		fmt.Fprintln(w, f)
	}
	fmt.Fprintln(w)
	return nil
}
