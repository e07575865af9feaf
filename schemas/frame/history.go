package frame

import (
	"encoding/json"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Bounds of GET /v1/jobs/{id}/history.
const (
	MaxHistoryLimit     = 1000
	DefaultHistoryLimit = 200
)

// History is the body of GET /v1/jobs/{id}/history: a page of the job's events as they lie in the log, the oldest
// first, with what became of each.
type History struct {
	JobID  string         `json:"jobId"`  // the job of the request's path
	Events []HistoryEvent `json:"events"` // at most the limit that was asked for
	// NextCursor asks for the next page; absent in the last one. A page that is short or empty may have one too: so much
	// of the log is read for one page, and no more.
	NextCursor string `json:"nextCursor,omitempty"`
	// Truncated says that Kafka's retention has removed the job's first events. Whether the remaining events changed the
	// job is then not known, and Earliest is the time of the first record of any job that is there, if there is one.
	Truncated bool       `json:"truncated,omitempty"`
	Earliest  *time.Time `json:"earliest,omitempty"`
	AsOf      time.Time  `json:"asOf"` // all changes up to this time are included
}

// HistoryEvent is one event of a job. What an event does not have is absent.
type HistoryEvent struct {
	Offset int64     `json:"offset"` // in its partition of the topic status
	At     time.Time `json:"at"`     // the record's time
	// Type is what happened, and By who wrote it; both absent for a record that cannot be read.
	Type    event.Type   `json:"type,omitempty"`
	By      event.Writer `json:"by,omitempty"`
	Worker  string       `json:"worker,omitempty"`
	Subject string       `json:"subject,omitempty"` // the job's owner, in events that name it
	// Run and Dispatch fence the events of workers; Round is the number of retries that an order has seen.
	Run      string `json:"run,omitempty"`
	Dispatch int    `json:"dispatch,omitempty"`
	Round    int    `json:"round,omitempty"`
	Bulk     string `json:"bulk,omitempty"` // the bulk action whose order it is
	// TraceID is that of the W3C trace that the event's record carries: of sampled ones, and of that of a submit whose
	// client has sent one.
	TraceID  string          `json:"traceId,omitempty"`
	Progress json.RawMessage `json:"progress,omitempty"` // a job.Progress
	Error    json.RawMessage `json:"error,omitempty"`    // a job.Error
	// Applied says whether the event changed the job; null if that is not known, see History.Truncated.
	Applied *bool `json:"applied"`
	// Reason is why it did not, for programs, and Detail in a sentence for people.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// State and Attempt are the job's after the event; absent if that is not known, or there was no job.
	State   job.State `json:"state,omitempty"`
	Attempt int       `json:"attempt,omitempty"`
}
