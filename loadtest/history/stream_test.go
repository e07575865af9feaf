package history

import (
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
)

// told are the records of one connection of stream 5, client 2: what it knows of jobs j and k, how it
// was answered, what came, and its end.
func told(t int64, conn int, j, k job.State, code int, came ...Record) []Record {
	of := func(r Record) Record {
		r.Client, r.Stream, r.Conn = 2, 5, conn
		r.At = t * 1_000_000
		return r
	}
	version := map[job.State]int64{"": 0, job.Processing: 2, job.Completed: 3}
	out := []Record{
		of(Record{Kind: Watch, Job: "j", State: j, Version: version[j]}), of(Record{Kind: Watch, Job: "k", State: k,
			Version: version[k]}),
		of(Record{Kind: Answered, Code: code}),
	}
	if code == 200 {
		out = append(out, of(Record{Kind: Watched, Job: "j"}), of(Record{Kind: Watched, Job: "k"}))
	}
	for _, r := range came {
		out = append(out, of(r))
	}
	return append(out, of(Record{Kind: Close}))
}

// An event stream ends, and not before it was told all; what its ID covers does not come again.
func TestStreams(t *testing.T) {
	const processing, completed = job.Processing, job.Completed
	came := func(id string, version int64, s job.State) Record {
		return Record{Kind: Status, Job: id, Version: version, State: s}
	}
	begun := []Record{open(0, 1, 1), ack(1, 1), {At: 1_000_000, Kind: Ack, Client: 1, Conn: 1, Job: "k", Watch: true}}
	ended := []Record{
		status(6, 1, 3, completed),
		{At: 6_000_000, Kind: Status, Client: 1, Conn: 1, Job: "k", Version: 3, State: completed},
	}
	ends := []Record{came("j", 3, completed), came("k", 3, completed)}
	for name, c := range map[string]struct {
		stream []Record
		says   string // "": it is as it should be
	}{
		"told and sent away": {
			stream: slices.Concat(told(7, 1, "", "", 200, ends...), told(8, 2, completed, completed, 204)),
		},
		"cut, and told the rest": {stream: slices.Concat(told(2, 1, "", "", 200, came("j", 2, processing),
			came("k", 3, completed)),
			told(7, 2, processing, completed, 200, came("j", 3, completed)), told(8, 3, completed, completed, 204))},
		"cut between an event and its ID": {
			stream: slices.Concat(told(7, 1, "", "", 200, ends...), told(8, 2, "", "", 200, ends...),
				told(9, 3, completed, completed, 204)),
		},
		"not answered, and refused for now": {
			stream: slices.Concat(told(7, 1, "", "", 200, ends...), told(8, 2, completed, completed, 0),
				told(9, 3, completed, completed, 503)),
		},
		"one of its jobs is not found": {
			stream: slices.Concat(told(7, 1, "", "", 200, Record{Kind: Watched, Job: "k", Text: "not_found"},
				came("j", 3, completed)),
				func() []Record {
					out := told(8, 2, completed, "", 204)
					out[1].Text = "not_found"
					return out
				}())},
		"it comes back though its ID says all": {
			stream: slices.Concat(told(7, 1, "", "", 200, ends...), told(8, 2, completed, completed, 200)),
			says:   "answered 200, not 204",
		},
		"it comes back for ever": {stream: slices.Concat(told(7, 1, "", "", 200, ends...), told(8, 2, "", "", 200, ends...),
			told(9, 3, "", "", 200, ends...), told(10, 4, "", "", 200, ends...), told(11, 5, "", "", 200, ends...)),
			says: "goes on coming back: 3 times"},
		"sent away too early": {
			stream: slices.Concat(told(2, 1, "", "", 200, came("j", 3, completed)), told(7, 2, completed, "", 204)),
			says:   "was not told",
		},
		"sent away at once": {stream: told(7, 1, "", "", 204), says: "was not told"},
		"an end comes again": {
			stream: slices.Concat(told(2, 1, "", "", 200, came("j", 3, completed)), told(7, 2, completed, "", 200, ends...)),
			says:   "version 3 came after version 3",
		},
		"the end never came": {
			stream: told(2, 1, "", "", 200, came("k", 3, completed), came("j", 2, processing))[:7],
			says:   "the last version seen is 2",
		},
		"the end never came, but the stream is cut": {
			stream: told(2, 1, "", "", 200, came("k", 3, completed), came("j", 2, processing)),
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := check(t, slices.Concat(begun, c.stream, ended, []Record{end(40)}))
			if c.says == "" {
				if v.Found != 0 {
					t.Fatalf("%+v", v.Violations)
				}
				return
			}
			if v.Found != 1 {
				t.Fatalf("%d violations, want one: %+v", v.Found, v.Violations)
			}
			x := v.Violations[0]
			if x.Invariant != Delivery || x.Client != 2 || x.Stream != 5 || x.Job != "j" || !strings.Contains(x.What, c.says) {
				t.Errorf("%+v", x)
			}
			if !slices.ContainsFunc(x.Records, func(r Record) bool { return r.Kind == Answered }) {
				t.Errorf("how it was answered is not among the records: %v", x.Records)
			}
		})
	}
}
