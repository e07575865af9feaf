package history

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/text"
	"github.com/ackwire/ackwire/tracker/fold"
)

// Unreadable is the reason of a record that no event can be read from. It went to the dead letters.
const Unreadable fold.Reason = "unreadable"

const unreadableWords = "It could not be read, and went to the dead letters."

var errKey = errors.New("the record's key is not the event's jobId")

// Verdict is what became of an event.
type Verdict int

// The verdicts.
const (
	Unknown Verdict = iota // the log does not hold all that was before it
	Applied                // it changed the job
	Refused                // it changed nothing: Reason says why
)

// Event is one record of the job.
type Event struct {
	Offset   int64
	At       time.Time
	Type     event.Type // empty for a record that cannot be read
	Run      string
	Worker   string
	Subject  string
	Bulk     string // the bulk action whose order it is
	TraceID  string // of the W3C trace that the record carries
	Dispatch int
	Round    int
	Progress json.RawMessage
	Error    json.RawMessage

	Verdict Verdict
	Reason  fold.Reason
	Detail  string
	// The job afterwards; not known with the verdict Unknown, and empty if there is none.
	State   job.State
	Attempt int
}

// Bounds of texts of an error, in bytes, as those of a document's.
const (
	maxCode    = 128
	maxMessage = 2048
)

// eventOf returns a record as the history shows it. err is why it cannot be read.
func eventOf(rec *kgo.Record, e *event.Event, err error) Event {
	made := Event{Offset: rec.Offset, At: timeOf(rec)}
	if err != nil {
		made.Verdict, made.Reason, made.Detail = Refused, Unreadable, unreadableWords
		return made
	}
	made.Type, made.Subject, made.Bulk = e.Type, e.Subject, e.Bulk
	if len(rec.Headers) > 0 {
		if sc := tracing.FromRecord(rec); sc.IsValid() {
			made.TraceID = sc.TraceID().String()
		}
	}
	made.Run, made.Worker = e.Run, e.Worker
	made.Dispatch, made.Round = e.Dispatch, e.Round
	if e.Progress != nil {
		made.Progress, _ = plainjson.Marshal(fold.Shown(*e.Progress)) // which was read from JSON
	}
	if f := e.Error; f != nil {
		made.Error, _ = plainjson.Marshal(&job.Error{
			Code: text.Clip(f.Code, maxCode), Message: text.Clip(f.Message, maxMessage), Retryable: f.Retryable,
		})
	}
	return made
}

// judge notes what the fold made of the event.
func (e *Event) judge(r fold.Result) {
	e.Verdict = Applied
	if !r.Changed {
		e.Verdict, e.Reason, e.Detail = Refused, r.Reason, r.Reason.Words()
	}
	if r.Job != nil && !r.Job.Erased() {
		e.State, e.Attempt = r.Job.Doc.State, r.Job.Doc.Attempt
	}
}

// size is about how many bytes the event has as JSON.
func (e *Event) size() int {
	const fields = 350
	return fields + len(e.Run) + len(e.Worker) + len(e.Subject) + len(e.Bulk) + len(e.Progress) + len(e.Error)
}

// timeOf is the record's time as documents have it: none is before 1970.
func timeOf(rec *kgo.Record) time.Time {
	if epoch := time.UnixMilli(0); rec.Timestamp.Before(epoch) {
		return epoch
	}
	return rec.Timestamp
}
