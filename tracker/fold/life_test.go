package fold

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
)

// TestLife writes a whole life, event by event, with each document, debt and order, beside
// the one in testdata (-update writes it again).
func TestLife(t *testing.T) {
	l := newLog(t)
	var out bytes.Buffer
	say := func(typ event.Type, mods ...mod) {
		r := l.add(typ, mods...)
		fmt.Fprintf(&out, "%02d %s", l.next-1, typ)
		if !r.Changed {
			fmt.Fprintf(&out, " refused: %s", r.Reason)
		}
		out.WriteString("\n")
		for _, o := range r.Orders {
			fmt.Fprintf(&out, "   order %s, dispatch %d, run %s, worker %s, reason %q\n", o.Type, o.Dispatch, o.Run, o.Worker,
				o.Reason)
		}
		switch {
		case r.Changed && r.Job == nil:
			out.WriteString("   removed\n")
		case r.Changed:
			doc, err := json.Marshal(r.Job.Doc)
			if err != nil {
				t.Fatal(err)
			}
			d := NextDebt(r.Job, l.now)
			fmt.Fprintf(&out, "   version %d, dispatch %d, round %d, renewal %d, owes %d in %s\n   %s\n",
				r.Job.Version, r.Job.Dispatch, r.Job.Round, r.Job.Renewal, d.Kind, d.At.Sub(l.now), doc)
		}
	}
	first := []mod{dispatch(2), run("r1"), from(20)}
	second := []mod{dispatch(3), run("r2"), from(21)}
	third := []mod{dispatch(4), run("r3"), from(22)}
	fourth := []mod{dispatch(5), run("r4"), from(23)}

	say(event.Accepted, runAt(t0.Add(time.Minute)))
	l.now = l.now.Add(time.Minute)
	say(event.Requeued, dispatch(2), from(20))
	say(event.Claimed, first...)
	say(event.Progress, append(first, percent(12.5))...)
	say(event.Claimed, append(first, run("r9"))...)
	say(event.Failed, first...)
	say(event.Requeued, dispatch(3), from(21))
	say(event.Claimed, second...)
	say(event.Beat, second...)
	say(event.LeaseExpired, append(second, renewal(7))...)
	say(event.LeaseExpired, append(second, renewal(8))...)
	say(event.Completed, second...)
	say(event.Claimed, third...)
	say(event.Requeued, dispatch(4), from(22))
	say(event.CancelRequested)
	say(event.Beat, third...)
	say(event.Released, third...)
	say(event.CancelRequested)
	say(event.RetryRequested)
	say(event.Claimed, fourth...)
	say(event.Completed, append(fourth, result(`{"rows":3}`))...)
	say(event.DeadlineExceeded, round(1))
	say(event.Expired, round(1))
	l.now = l.now.Add(25 * time.Hour)
	say(event.Expired, round(1))
	say(event.Beat, fourth...)

	golden := filepath.Join("testdata", "life.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Errorf("the life has changed (go test -update, and look at the difference):\n%s", out.Bytes())
	}
}
