package history

import (
	"fmt"
	"io"
)

// Print writes the verdict for people.
func (v *Verdict) Print(w io.Writer) {
	fmt.Fprintf(w, "%s: %d records of %d clients: %d jobs acked, %d seen ended, %d statuses, %d reads, %d faults noted\n",
		v.Scenario, v.Records, v.Clients, v.Acked, v.Ended, v.Statuses, v.Gets, v.Faults)
	if v.Outputs > 0 {
		fmt.Fprintf(w, "Streams of jobs were followed %d times, and %d parts of them came.\n", v.Outputs, v.Parts)
	}
	if !v.Complete {
		fmt.Fprintln(w, "The run was broken off: what should still have come is not judged.")
	}
	if v.Unproven > 0 {
		fmt.Fprintf(w, "Of %d acked jobs nothing was heard after the ack, and they were not read: of them nothing is "+
			"proven.\n", v.Unproven)
	}
	counts := map[Invariant]int{}
	for _, x := range v.Violations {
		counts[x.Invariant]++
	}
	for _, i := range Invariants {
		if n := counts[i]; n > 0 {
			fmt.Fprintf(w, "  %s VIOLATED %d times: %s\n", i, n, Titles[i])
		} else {
			fmt.Fprintf(w, "  %s holds: %s\n", i, Titles[i])
		}
	}
	if v.Found > int64(len(v.Violations)) {
		fmt.Fprintf(w, "%d violations, of which the first %d are told.\n", v.Found, len(v.Violations))
	}
	for _, x := range v.Violations {
		fmt.Fprintf(w, "\n%s  job %s", x.Invariant, x.Job)
		if x.Client != 0 {
			fmt.Fprintf(w, "  client %d", x.Client)
		}
		switch {
		case x.Stream != 0 && x.Output != "":
			fmt.Fprintf(w, "  reader %d over HTTP", x.Stream)
		case x.Stream != 0:
			fmt.Fprintf(w, "  event stream %d", x.Stream)
		}
		if x.Output != "" {
			fmt.Fprintf(w, "  stream %s", x.Output)
		}
		fmt.Fprintf(w, "\n    %s\n", x.What)
		for i, r := range x.Records {
			if x.Omitted > 0 && i == len(x.Records)/2 {
				fmt.Fprintf(w, "      … %d more\n", x.Omitted)
			}
			fmt.Fprintf(w, "      %v\n", r)
		}
	}
}
