package load

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/scenario"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// serverFrame has the fields of all frames of servers; of a document only those that are needed.
type serverFrame struct {
	Type frame.Type `json:"type"`
	ID   string     `json:"id"`

	JobID     string `json:"jobId"` // ack
	Duplicate bool   `json:"duplicate"`

	Version int64 `json:"version"` // status
	Job     struct {
		JobID   string          `json:"jobId"`
		State   job.State       `json:"state"`
		Attempt int             `json:"attempt"`
		Error   json.RawMessage `json:"error"`
		Runs    json.RawMessage `json:"attempts"`
		Streams json.RawMessage `json:"streams"`
	} `json:"job"`

	Stream string            `json:"stream"` // chunk
	Run    int               `json:"run"`
	From   int64             `json:"from"`
	Text   string            `json:"text"`
	Items  []json.RawMessage `json:"items"`
	Reset  bool              `json:"reset"`
	End    bool              `json:"end"`
	Total  int64             `json:"total"`
	Error  code.Code         `json:"error"`

	Jobs   []frame.SubscribedJob `json:"jobs"` // subscribed
	Mine   bool                  `json:"mine"`
	Cursor string                `json:"cursor"` // cursor

	Code       code.Code `json:"code"` // error
	Retryable  bool      `json:"retryable"`
	RetryAfter float64   `json:"retryAfter"`

	ReconnectAfter float64 `json:"reconnectAfter"` // goaway
}

// seconds returns a duration from the wire, bounded.
func seconds(f float64) time.Duration {
	const most = 60
	if !(f > 0) {
		return 0
	}
	return time.Duration(min(f, most) * float64(time.Second))
}

// kind is a kind of job of the scenario, with its encoded frame.
type kind struct {
	scenario.Job
	head, tail []byte // of the frame, around its id
}

func newKind(j scenario.Job) kind {
	k := kind{Job: j, head: []byte(`{"type":"submit","id":"`)}
	k.tail = append(k.tail, `","job":`...)
	k.tail = strconv.AppendQuote(k.tail, j.Type)
	k.tail = append(append(k.tail, `,"payload":`...), j.Payload...)
	if !j.Watch {
		k.tail = append(k.tail, `,"watch":false`...)
	}
	return k
}

// arrival is one submit. It belongs to one goroutine at a time: the dispatcher, then the client that
// sends it.
type arrival struct {
	of     measure.Of
	due    time.Time
	waited bool   // no socket had room when it was due
	key    string // idempotency key; empty without
	output bool   // those who watch the job also follow what it writes
	sends  int
}

func (k *kind) frame(id string, a *arrival) []byte {
	b := make([]byte, 0, len(k.head)+len(id)+len(k.tail)+len(a.key)+48)
	b = append(append(append(b, k.head...), id...), k.tail...)
	if a.key != "" {
		b = append(append(append(b, `,"key":"`...), a.key...), '"')
	}
	if a.output {
		b = append(b, `,"streams":["`+demo.WriteStream+`"]`...)
	}
	return append(b, '}')
}

// mineFrame returns the frame that subscribes to all jobs of the client's subject, from a cursor if it is not "".
func mineFrame(id, cursor string) []byte {
	b := append([]byte(`{"type":"subscribe","id":"`), id...)
	b = append(b, `","mine":true`...)
	if cursor != "" {
		b = strconv.AppendQuote(append(b, `,"after":`...), cursor)
	}
	return append(b, '}')
}

// ref is a job to watch.
type ref struct {
	jobID  string
	after  int64
	output *cursor // from which its output is followed; nil if it is not
}

func subscribeFrame(id string, refs []ref) []byte {
	b := append([]byte(`{"type":"subscribe","id":"`), id...)
	b = append(b, `","jobs":[`...)
	for i, r := range refs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"jobId":`...)
		b = strconv.AppendQuote(b, r.jobID)
		if r.after > 0 {
			b = strconv.AppendInt(append(b, `,"after":`...), r.after, 10)
		}
		if r.output != nil {
			b = append(b, `,"streams":[{"stream":"`+demo.WriteStream+`"`...)
			if r.output.run > 0 {
				b = strconv.AppendInt(append(b, `,"run":`...), int64(r.output.run), 10)
				b = strconv.AppendInt(append(b, `,"at":`...), r.output.at, 10)
			}
			b = append(b, `}]`...)
		}
		b = append(b, '}')
	}
	return append(b, `]}`...)
}
