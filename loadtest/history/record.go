// Package history has the history of a load test, one record for everything that a client saw, and the checker that
// compares it with Ackwire's promises.
package history

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Format is the version of the file's format: one JSON object per line, in the order in which the load generator learnt
// of the facts.
const Format = 1

// Kind is the kind of a record.
type Kind string

// The kinds.
const (
	Run     Kind = "run"     // the first record: the scenario, when it began, and the bounds of I3 and I7
	Open    Kind = "open"    // a client's socket was welcomed; Conn counts its sockets
	Close   Kind = "close"   // that socket is gone, or the connection of that event stream; Text says why
	Ack     Kind = "ack"     // a submit was acked; Watch: the socket follows the job from now on
	Retry   Kind = "retry"   // an ended job was opened again by its owner
	Watch   Kind = "watch"   // a client asked for what is newer than Version; without a job: for all of its subject
	Watched Kind = "watched" // and was answered; Text is the error's code, if it was refused
	Status  Kind = "status"  // a status came; an event stream of several jobs does not tell its Version
	Get     Kind = "get"     // a GET was answered with Code (HTTP; 0: not at all)
	// Answered: an event stream connected and was answered with Code. Its Watch records before have the
	// content of the last event ID that it sent: State or Text, and Version, of each job.
	Answered Kind = "answered"
	// Follow: a client asks for an output of a job; Watch: it does so by a submit that was acked. Part: a part of it came,
	// or Text is the code with which it is followed no longer. See Output.
	Follow Kind = "follow"
	Part   Kind = "part"
	Fault  Kind = "fault" // something is broken at this moment: a socket cut, a server that is away
	End    Kind = "end"   // the last record: the run came to its end
)

// Record is one line.
type Record struct {
	// At is the time at which the generator learnt of it, in microseconds after the run's begin.
	At     int64 `json:"t"`
	Kind   Kind  `json:"k"`
	Client int   `json:"c,omitempty"` // from 1
	// Stream, from 1, says that it concerns this event stream of the client, or this reader of an output over HTTP, and no
	// socket.
	Stream  int       `json:"e,omitempty"`
	Conn    int       `json:"n,omitempty"` // from 1, of the client's sockets or of the stream
	Job     string    `json:"j,omitempty"`
	Version int64     `json:"v,omitempty"`
	State   job.State `json:"s,omitempty"`
	Watch   bool      `json:"w,omitempty"`
	Reset   bool      `json:"reset,omitempty"` // of Watched: versions above Version count as none
	Code    int       `json:"code,omitempty"`
	Text    string    `json:"text,omitempty"`
	// Attempt is set for a Status or a Get of a job that may have spent attempts; see WithAttempts. Text
	// is then the code with which the job failed.
	Attempt int       `json:"a,omitempty"`
	Runs    []Attempt `json:"r,omitempty"`
	// Totals is set for the end of a job that has written outputs; see WithTotals.
	Totals map[string]int64 `json:"totals,omitempty"`
	// Of Follow and Part only.
	Output *Output `json:"o,omitempty"`
	// Of Run only.
	Run *Header `json:"run,omitempty"`
}

// Header describes the run, in the first record.
type Header struct {
	Format        int         `json:"format"`
	Scenario      string      `json:"scenario"`
	Began         time.Time   `json:"began"`
	EndsWithin    job.Seconds `json:"endsWithin"`
	DeliverWithin job.Seconds `json:"deliverWithin"`
}

// Time is At as a duration.
func (r Record) Time() time.Duration { return time.Duration(r.At) * time.Microsecond }

// append appends the record's JSON and a newline. It does so without encoding/json, because there are thousands of
// records a second and the generator must be fast.
func (r Record) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"t":`...), r.At, 10)
	b = append(append(append(b, `,"k":"`...), r.Kind...), '"')
	number := func(name string, v int64) {
		if v != 0 {
			b = append(append(append(b, `,"`...), name...), `":`...)
			b = strconv.AppendInt(b, v, 10)
		}
	}
	text := func(name, v string) {
		if v == "" {
			return
		}
		b = append(append(append(b, `,"`...), name...), `":`...)
		quoted, _ := json.Marshal(v) // a string always marshals
		b = append(b, quoted...)
	}
	number("c", int64(r.Client))
	number("e", int64(r.Stream))
	number("n", int64(r.Conn))
	text("j", r.Job)
	number("v", r.Version)
	text("s", string(r.State))
	if r.Watch {
		b = append(b, `,"w":true`...)
	}
	if r.Reset {
		b = append(b, `,"reset":true`...)
	}
	number("code", int64(r.Code))
	text("text", r.Text)
	number("a", int64(r.Attempt))
	if len(r.Runs) > 0 {
		runs, _ := json.Marshal(r.Runs) // numbers and strings always marshal
		b = append(append(b, `,"r":`...), runs...)
	}
	if len(r.Totals) > 0 {
		totals, _ := json.Marshal(r.Totals) // strings and numbers always marshal
		b = append(append(b, `,"totals":`...), totals...)
	}
	if r.Output != nil {
		output, _ := json.Marshal(r.Output) // strings and numbers always marshal
		b = append(append(b, `,"o":`...), output...)
	}
	if r.Run != nil {
		header, _ := json.Marshal(r.Run) // made here: its durations are in bounds
		b = append(append(b, `,"run":`...), header...)
	}
	return append(b, '}', '\n')
}

// String describes the record for people.
func (r Record) String() string {
	b := strconv.AppendFloat(nil, r.Time().Seconds(), 'f', 6, 64)
	b = append(append(b, "s "...), r.Kind...)
	word := func(name string, v int64) {
		if v != 0 {
			b = append(append(append(b, ' '), name...), ' ')
			b = strconv.AppendInt(b, v, 10)
		}
	}
	word("client", int64(r.Client))
	word("stream", int64(r.Stream))
	conn := "socket"
	if r.Stream != 0 {
		conn = "connection"
	}
	word(conn, int64(r.Conn))
	word("version", r.Version)
	word("HTTP", int64(r.Code))
	for _, s := range []string{string(r.State), r.Text} {
		if s != "" {
			b = append(append(b, ' '), s...)
		}
	}
	word("attempt", int64(r.Attempt))
	for _, a := range r.Runs {
		b = fmt.Appendf(b, " [%d %s %s]", a.Number, a.Outcome, a.Code)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Totals)) {
		b = fmt.Appendf(b, " [%s: %d]", name, r.Totals[name])
	}
	if o := r.Output; o != nil {
		b = fmt.Appendf(b, " %s: %d from %d of run %d, sum %x", o.Name, o.Length, o.At, o.Run, o.Sum)
		if o.Reset {
			b = append(b, ", reset"...)
		}
		if o.End {
			b = fmt.Appendf(b, ", end of %d", o.Total)
		}
	}
	return string(b)
}
