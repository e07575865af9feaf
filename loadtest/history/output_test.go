package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// told10 is what the jobs below write: ten words of demo.write.
var told10 = demo.Text(10)

// reader makes the records of one client that follows the stream tokens of job j, as an honest generator does.
type reader struct {
	client, conn, stream int
	run                  int
	at                   int64
	sum                  uint64
}

func (x *reader) record(t int64, kind Kind, o Output) Record {
	o.Name = "tokens"
	r := at(t, Record{Kind: kind, Client: x.client, Conn: x.conn, Stream: x.stream, Output: &o})
	return r
}

// follow asks from where the reader is on; by an ack if acked is set.
func (x *reader) follow(t int64, acked bool) Record {
	r := x.record(t, Follow, Output{Run: x.run, At: x.at, Words: 10})
	r.Watch = acked
	return r
}

// part brings told10[from:to] of a run.
func (x *reader) part(t int64, run, from, to int, more ...func(*Output)) Record {
	return x.other(t, run, from, told10[from:to], more...)
}

// other brings a text.
func (x *reader) other(t int64, run, from int, text string, more ...func(*Output)) Record {
	o := Output{Run: run, At: int64(from), Length: int64(len(text))}
	for _, set := range more {
		set(&o)
	}
	if o.Reset {
		x.sum = 0
	}
	x.sum = Sum(x.sum, text)
	x.run, x.at, o.Sum = run, o.At+o.Length, x.sum
	return x.record(t, Part, o)
}

func (x *reader) refused(t int64, c code.Code) Record {
	r := x.record(t, Part, Output{})
	r.Text = string(c)
	return r
}

func reset(o *Output) { o.Reset = true }
func over(o *Output)  { o.End, o.Total = true, o.At+o.Length }

// written is the end of job j in its document, with what its run has written.
func written(t int64, state job.State, total int64) Record {
	return status(t, 1, 3, state).WithTotals(job.Streams{"tokens": {Kind: job.StreamText, Total: total}})
}

// Each clause of I9 is noticed when it is broken, as what it is, and a good life is not.
func TestOutputs(t *testing.T) {
	all := len(told10)
	ended := []Record{written(6, job.Completed, int64(all))}
	for name, c := range map[string]struct {
		records func(x *reader) []Record
		ended   []Record // nil: it has completed, with all of told10
		says    string   // "": it is as it should be
	}{
		"whole at once": {records: func(x *reader) []Record { return []Record{x.part(2, 1, 0, all, over)} }},
		"in parts": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 1, 7, 30), x.part(4, 1, 30, all), x.part(5, 1, all, all, over)}
		}},
		"a run is lost": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 30), x.part(3, 2, 0, 0, reset), x.part(4, 2, 0, all, over)}
		}},
		"a run is lost of which the client has nothing": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 0), x.part(4, 2, 0, all, over)}
		}},
		"it comes back to where it was": {records: func(x *reader) []Record {
			out := []Record{x.part(2, 1, 0, 30), at(3, Record{Kind: Close, Client: 1, Conn: 1}), open(3, 1, 2)}
			x.conn = 2
			return append(out, at(3, Record{Kind: Watch, Client: 1, Conn: 2}), x.follow(3, false),
				at(3, Record{Kind: Watched, Client: 1, Conn: 2}), x.part(4, 1, 30, all, over))
		}, ended: []Record{get(6, 200, 3, job.Completed).WithTotals(job.Streams{"tokens": {Total: int64(all)}})}},
		"a gap": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 1, 9, all, over)}
		}, says: "a gap: a part begins at 9 of run 1, and the client has 7"},
		"a gap at the beginning": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 1, all, over)}
		}, says: "a gap"},
		"an overlap": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 1, 5, all, over)}
		}, says: "an overlap: a part begins at 5 of run 1, and the client has 7"},
		"again from the beginning, without a reset": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 1, 0, all, over)}
		}, says: "an overlap"},
		"another text": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.other(3, 1, 7, strings.Repeat("x", all-7), over)}
		}, says: "another text came than the job writes: bytes 7 to"},
		"one letter is another": {records: func(x *reader) []Record {
			return []Record{x.other(2, 1, 0, strings.Replace(told10, "lamp", "lump", 1), over)}
		}, says: "another text"},
		"more than the job writes": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, all), x.other(3, 1, all, "and", over)}
		}, says: "and the job writes"},
		"it never ends": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, all)}
		}, says: "its end never came in 34s on an open socket: the client has 54 of run 1"},
		"nothing ever comes": {records: func(*reader) []Record { return nil }, says: "its end never came"},
		"it never ends, but the socket was lost": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, all), at(7, Record{Kind: Close, Client: 1, Conn: 1})}
		}},
		"it ends after a part": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7, over), x.part(3, 1, 7, all)}
		}, says: "a part from 7 of run 1 on came after its end"},
		"it ends twice": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, all, over), x.part(3, 1, all, all, over)}
		}, says: "came after its end"},
		"an old run goes on after a reset": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 2, 0, 7, reset), x.part(4, 1, 7, all, over)}
		}, says: "a part of run 1 came after run 2"},
		"a reset to an old run": {records: func(x *reader) []Record {
			return []Record{x.part(2, 2, 0, 7), x.part(3, 1, 0, all, reset, over)}
		}, says: "a reset to run 1 came after run 2"},
		"a reset to the same run": {records: func(x *reader) []Record {
			return []Record{x.part(2, 2, 0, 7), x.part(3, 2, 0, all, reset, over)}
		}, says: "a reset to run 2 came after run 2"},
		"a reset does not begin at 0": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 2, 7, all, reset, over)}
		}, says: "a reset to run 2 begins at 7"},
		"another run goes on without a reset": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.part(3, 2, 7, all, over)}
		}, says: "a part of run 2 came after 7 of run 1, without a reset"},
		"the total is another": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, all, func(o *Output) { o.End, o.Total = true, 99 })}
		}, says: "it ended with 54 of run 1, and says that 99 were written"},
		"the document says more": {records: func(x *reader) []Record { return []Record{x.part(2, 1, 0, 7, over)} },
			says: "it ended with 7 of run 1, and the job's document says 54"},
		"the document says too little": {records: func(x *reader) []Record { return []Record{x.part(2, 1, 0, 7, over)} },
			ended: []Record{written(6, job.Completed, 7)}, says: "it ended with 7 of run 1, and the job has written 54"},
		"a job that fails has written less": {records: func(x *reader) []Record { return []Record{x.part(2, 1, 0, 7, over)} },
			ended: []Record{written(6, job.Failed, 7)}},
		"the document of a lost run says nothing": {
			records: func(x *reader) []Record { return []Record{x.part(2, 1, 0, 7, over)} },
			ended:   []Record{status(6, 1, 3, job.Cancelled)},
		},
		"it is refused for now": {records: func(x *reader) []Record { return []Record{x.refused(2, code.Unavailable)} }},
		"its cursor is refused": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7), x.refused(2, code.InvalidOffset)}
		}, says: "it is followed no longer: invalid_offset, at 7 of run 1"},
		"what follows is gone": {records: func(x *reader) []Record { return []Record{x.refused(2, code.StreamGone)} },
			says: "it is followed no longer: stream_gone"},
		"of an output that it does not follow": {records: func(*reader) []Record {
			return []Record{(&reader{client: 1, conn: 1, stream: 7}).part(2, 1, 0, all)}
		}, says: "does not follow"},
		"on another connection": {records: func(x *reader) []Record {
			x.conn = 2
			return []Record{x.part(2, 1, 0, all)}
		}, says: "came on connection 2"},
		"the generator forgets": {records: func(x *reader) []Record {
			out := []Record{x.part(2, 1, 0, 7)}
			x.at = 3
			return append(out, x.follow(3, true))
		}, says: "the generator errs"},
		"a retry begins anew": {records: func(x *reader) []Record {
			return []Record{x.part(2, 1, 0, 7, over), status(2, 1, 2, job.Failed), at(3, Record{Kind: Retry, Client: 1}),
				x.part(4, 2, 0, 7)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			x := &reader{client: 1, conn: 1}
			begun := []Record{open(0, 1, 1), ack(1, 1), x.follow(1, true)}
			ends := c.ended
			if ends == nil {
				ends = ended
			}
			v := check(t, slices.Concat(begun, c.records(x), ends, []Record{end(40)}))
			var ours []Violation
			for _, found := range v.Violations {
				if found.Invariant == Continuation {
					ours = append(ours, found)
				}
			}
			switch {
			case c.says == "" && len(ours) == 0:
			case c.says != "" && len(ours) > 0 && len(ours) <= 2 && slices.ContainsFunc(ours, func(v Violation) bool {
				return strings.Contains(v.What, c.says) && v.Job == "j" && v.Client == 1 && v.Output == "tokens" &&
					len(v.Records) > 1
			}):
			default:
				t.Errorf("want %q, got %+v", c.says, ours)
			}
			if v.Outputs != 1 {
				t.Errorf("%d followers were counted", v.Outputs)
			}
		})
	}
}

// Followers of one output agree on its run and text, also if it is not known what the job writes.
func TestFollowersAgree(t *testing.T) {
	for name, c := range map[string]struct {
		run  int
		text string
		says string
	}{
		"the same":     {run: 1, text: "abc"},
		"another text": {run: 1, text: "abd", says: "another text than that of client"},
		"another run":  {run: 2, text: "abc", says: "it ended with run 1, though run 2 was seen"},
	} {
		t.Run(name, func(t *testing.T) {
			records := []Record{open(0, 1, 1), open(0, 2, 1), ack(1, 1)}
			for client, text := range []string{"abc", c.text} {
				x := &reader{client: client + 1, conn: 1}
				follow := x.follow(1, true)
				follow.Output.Words = 0
				run := 1
				if client == 1 {
					run = c.run
				}
				records = append(records, follow, x.other(2, run, 0, text, over))
			}
			v := check(t, append(records, written(6, job.Completed, 3), end(40)))
			switch {
			case c.says == "" && v.Found == 0:
			case c.says != "" && v.Found > 0 && strings.Contains(v.Violations[0].What, c.says):
			default:
				t.Errorf("want %q, got %+v", c.says, v.Violations)
			}
		})
	}
}

// What a record says of an output is read as it was written, and a person can read it.
func TestOutputRecords(t *testing.T) {
	x := &reader{client: 1, conn: 1}
	want := []Record{x.follow(1, true), x.part(2, 1, 0, 7), x.part(3, 2, 0, 9, reset, over), written(4, job.Completed, 9)}
	var got []Record
	if err := Read(write(t, want), func(r Record) bool {
		if r.Kind != Run {
			got = append(got, r)
		}
		return true
	}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("read %v, written %v", got, want)
	}
	if s := want[2].String(); !strings.Contains(s, "tokens: 9 from 0 of run 2") ||
		!strings.Contains(s, "reset, end of 9") {
		t.Error(s)
	}
	if s := want[3].String(); !strings.Contains(s, "[tokens: 9]") {
		t.Error(s)
	}
}
