package dead

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// headerPrefix begins the names of the headers that tell why and from where a record was set aside.
const headerPrefix = "ackwire-dead-"

// Letter is a dead letter. Any of the texts may be malformed, for that may have made it one.
type Letter struct {
	Partition int32 // of the topic dead
	Offset    int64
	At        time.Time // when it was set aside
	Reason    string    // one word
	Detail    string    // for people
	By        string    // the service that set it aside
	// Topic, SourcePartition and SourceOffset are where the record lay.
	Topic, SourcePartition, SourceOffset string
	// Key, Headers and Value are the record's own.
	Key     []byte
	Headers []kgo.RecordHeader
	Value   []byte
}

// Parse returns the letter that a record of the topic dead is.
func Parse(r *kgo.Record) Letter {
	l := Letter{Partition: r.Partition, Offset: r.Offset, At: r.Timestamp.UTC(), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		v := string(h.Value)
		switch h.Key {
		case topic.HeaderDeadReason:
			l.Reason = v
		case topic.HeaderDeadDetail:
			l.Detail = v
		case topic.HeaderDeadBy:
			l.By = v
		case topic.HeaderDeadTopic:
			l.Topic = v
		case topic.HeaderDeadPartition:
			l.SourcePartition = v
		case topic.HeaderDeadOffset:
			l.SourceOffset = v
		default:
			if !strings.HasPrefix(h.Key, headerPrefix) { // of a later release
				l.Headers = append(l.Headers, h)
			}
		}
	}
	return l
}

// header returns the value of one of the record's own headers, "" if it has none of that name.
func (l *Letter) header(name string) string {
	for _, h := range l.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

// JobID returns the ID that the record's key or a header has; "" if that is none.
func (l *Letter) JobID() string {
	id := string(l.Key)
	if id == "" {
		id = l.header(topic.HeaderID)
	}
	if id == "" || !utf8.ValidString(id) || !job.Bounded(id, job.MaxNameChars) {
		return ""
	}
	return id
}

// Request is the request of a job.
type Request struct {
	JobID string
	Life  string // the life of the job's ID that the record names, or empty
	// Position is that of the record in its lane's topic.
	Position event.Position
	// At is when it was set aside; the request is at least as old.
	At time.Time
	// Policy is the policy in the record, or nil when it cannot be read.
	Policy *job.Policy
}

// Request returns the letter as a request of a job; ok is false if it is none, or names no job or no position. No more
// of the record has to be readable.
func (l *Letter) Request(names topic.Names) (r Request, ok bool) {
	_, inLane := names.Lane(l.Topic)
	partition, err := strconv.ParseInt(l.SourcePartition, 10, 32)
	offset, err2 := strconv.ParseInt(l.SourceOffset, 10, 64)
	r = Request{JobID: l.JobID(), At: l.At,
		Position: event.Position{Topic: l.Topic, Partition: int32(partition), Offset: offset}}
	if !inLane || r.JobID == "" || errors.Join(err, err2) != nil {
		return r, false
	}
	if life := l.header(topic.HeaderLife); topic.ValidLife(life) {
		r.Life = life
	}
	var p job.Policy
	if json.Unmarshal([]byte(l.header(topic.HeaderPolicy)), &p) == nil && p.Validate() == nil {
		r.Policy = &p
	}
	return r, true
}

// Again returns the record as it is written to the topic that it came from.
func (l *Letter) Again() *kgo.Record {
	return &kgo.Record{Topic: l.Topic, Key: l.Key, Value: l.Value, Headers: l.Headers}
}
