// Package history is what the clients of a load test saw, one record each, and the checker
// that holds it against what Ackwire promises.
package history

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Format is the version of the file: one JSON object per line, records in the order in which
// the load generator learnt of them. Records are only ever appended.
const Format = 1

// Kind says what a record tells.
type Kind string

// The kinds.
const (
	Run     Kind = "run"     // the first record: the scenario, when it began, and the bounds of I3 and I7
	Open    Kind = "open"    // a client's socket was welcomed; Conn counts its sockets
	Close   Kind = "close"   // that socket is gone; Text says why
	Ack     Kind = "ack"     // a submit was acked; Watch: the socket follows the job from now on
	Retry   Kind = "retry"   // an ended job was opened again by its owner
	Watch   Kind = "watch"   // a client asked for what is newer than Version
	Watched Kind = "watched" // and was answered; Text is the error's code, if it was refused
	Status  Kind = "status"  // a status frame came
	Get     Kind = "get"     // a GET was answered with Code (HTTP; 0: not at all)
	Fault   Kind = "fault"   // something is broken at this moment: a socket cut, a server that is away
	End     Kind = "end"     // the last record: the run came to its end
)

// Record is one line.
type Record struct {
	// At is when it was learnt of, in microseconds after the run's begin.
	At      int64     `json:"t"`
	Kind    Kind      `json:"k"`
	Client  int       `json:"c,omitempty"` // from 1
	Conn    int       `json:"n,omitempty"` // from 1
	Job     string    `json:"j,omitempty"`
	Version int64     `json:"v,omitempty"`
	State   job.State `json:"s,omitempty"`
	Watch   bool      `json:"w,omitempty"`
	Code    int       `json:"code,omitempty"`
	Text    string    `json:"text,omitempty"`
	// Of Run only.
	Run *Header `json:"run,omitempty"`
}

// Header is what the first record tells of the run.
type Header struct {
	Format        int         `json:"format"`
	Scenario      string      `json:"scenario"`
	Began         time.Time   `json:"began"`
	EndsWithin    job.Seconds `json:"endsWithin"`
	DeliverWithin job.Seconds `json:"deliverWithin"`
}

// Time is At as a duration.
func (r Record) Time() time.Duration { return time.Duration(r.At) * time.Microsecond }

// append writes the record and a newline. By hand, because there are thousands a second and
// the generator must not spend its time here.
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
	number("n", int64(r.Conn))
	text("j", r.Job)
	number("v", r.Version)
	text("s", string(r.State))
	if r.Watch {
		b = append(b, `,"w":true`...)
	}
	number("code", int64(r.Code))
	text("text", r.Text)
	if r.Run != nil {
		header, _ := json.Marshal(r.Run) // made here: its durations are in bounds
		b = append(append(b, `,"run":`...), header...)
	}
	return append(b, '}', '\n')
}

// String is the record for people.
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
	word("socket", int64(r.Conn))
	word("version", r.Version)
	word("HTTP", int64(r.Code))
	for _, s := range []string{string(r.State), r.Text} {
		if s != "" {
			b = append(append(b, ' '), s...)
		}
	}
	return string(b)
}
