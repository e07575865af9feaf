package frame

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Ticket is the body of the answer to POST /v1/ws-tickets: a secret that opens one socket or event stream, once, until
// ExpiresAt.
type Ticket struct {
	Ticket    string    `json:"ticket"`    // a secret
	URL       string    `json:"url"`       // of the socket, relative to the gateway's URL
	ExpiresAt time.Time `json:"expiresAt"` // 30 seconds after it was made
}

// TraceparentHeader and TracestateHeader carry a trace (W3C Trace Context).
const (
	TraceparentHeader = "Traceparent"
	TracestateHeader  = "Tracestate"
)

// Bounds of GET /v1/jobs.
const (
	MaxListLimit     = 500
	DefaultListLimit = 50
)

// AsOfHeader says how fresh the answer of GET /v1/jobs/{id} is: it includes all changes up to
// this time. RFC 3339 with milliseconds.
const AsOfHeader = "Ackwire-As-Of"

// WarningHeader is the ack's Warning in the answer to POST /v1/jobs, also where that answer is a document.
const WarningHeader = "Ackwire-Warning"

// JobList is the body of GET /v1/jobs: documents, newest first.
type JobList struct {
	Jobs []json.RawMessage `json:"jobs"` // each a job.Document
	// Versions are the jobs' versions, in the order of Jobs, by which to compare them with what a watch tells.
	Versions []int64 `json:"versions,omitempty"`
	// NextCursor asks for the next page; absent in the last one. A page that is short or empty
	// may have one too.
	NextCursor string    `json:"nextCursor,omitempty"`
	AsOf       time.Time `json:"asOf"` // all changes up to this time are included
}

// Stats is the body of GET /v1/stats: the tenant's jobs, and every lane.
type Stats struct {
	Counts []Count   `json:"counts"` // the tenant's jobs, by type, lane and state
	Lanes  []Lane    `json:"lanes"`  // of all tenants
	AsOf   time.Time `json:"asOf"`   // all changes up to this time are included
}

// Count is the number of jobs of one type, lane and state.
type Count struct {
	Type  string    `json:"type"`  // the job type
	Lane  string    `json:"lane"`  // the lane on which they run
	State job.State `json:"state"` // their current state
	Jobs  int64     `json:"jobs"`  // how many there are
}

// Lane is the load of a lane, counted over all tenants. A client that may not operate is told of each number only its
// class: 0, 1 (for 1 to 9), 10 (for 10 to 99) and so on.
type Lane struct {
	Lane string `json:"lane"` // the lane's name
	// Workers counts the members of the lane's consumer group.
	Workers int `json:"workers"`
	// Waiting counts the requests that no worker has taken.
	Waiting int64 `json:"waiting"`
	// OldestSince is the time from which the oldest of them has waited: that of its job's submit, start or next attempt.
	// It is absent if none waits, or it is not known. A client that may not operate is told only the class of the
	// seconds since then, so that the time is a later one.
	OldestSince *time.Time `json:"oldestSince,omitempty"`
}

// Deliveries is the body of GET /v1/jobs/{id}/deliveries: the job's last webhooks, the oldest
// first.
type Deliveries struct {
	JobID      string     `json:"jobId"`      // the job of the request's path
	Deliveries []Delivery `json:"deliveries"` // empty for a job without a callback
}

// Delivery is one webhook. It is a job of its own, which can be read and retried like any other.
type Delivery struct {
	DeliveryID string `json:"deliveryId"` // the ID of the webhook's job; the endpoint receives it as webhook-id
	// Event is the message's type, such as "job.completed"; Version is the version of the job's document
	// when it entered that state.
	Event   string `json:"event"`
	Version int64  `json:"version"`
	// Job is the delivery's own document: its state, attempts and errors. Absent once its
	// retention is over.
	Job json.RawMessage `json:"job,omitempty"`
}

// Why is the body of GET /v1/jobs/{id}/why: what a job waits for.
type Why struct {
	JobID  string    `json:"jobId"`  // the job of the request's path
	State  job.State `json:"state"`  // its current state
	Reason Reason    `json:"reason"` // what it waits for, for programs
	// Detail is one sentence for people.
	Detail string `json:"detail"`
	Lane   string `json:"lane"`
	// Workers and Waiting are those of the lane, and Ahead that of its partition, as Lane says; set while the job waits
	// for a worker.
	Workers *int   `json:"workers,omitempty"`
	Waiting *int64 `json:"waiting,omitempty"`
	// Ahead counts the requests that are before this one in its partition.
	Ahead int64 `json:"ahead,omitempty"`
	// NextAt is when the job moves on by itself: its start, or its next attempt.
	NextAt *time.Time `json:"nextAt,omitempty"`
	AsOf   time.Time  `json:"asOf"` // all changes up to this time are included
}

// Reason is what a job waits for, or that it does not wait.
type Reason string

// The reasons.
const (
	Ended           Reason = "ended"
	Running         Reason = "running"
	Cancelling      Reason = "cancelling"        // its handler was told to stop
	Scheduled       Reason = "scheduled"         // its time has not come
	WaitingForRetry Reason = "waiting_for_retry" // an attempt failed, the next is not due
	Unserved        Reason = "unserved"          // the workers that took it could not run it
	BeingHandedOut  Reason = "being_handed_out"  // it is due, and on its way to its lane
	NoWorkers       Reason = "no_workers"        // its lane has no worker
	BehindOthers    Reason = "behind_others"     // other requests are before it in its partition
	AboutToStart    Reason = "about_to_start"    // a worker has it, or takes it next
)

// Reasons lists every reason.
var Reasons = []Reason{
	Ended, Running, Cancelling, Scheduled, WaitingForRetry, Unserved, BeingHandedOut, NoWorkers, BehindOthers,
	AboutToStart,
}

// EventsQuery is the query of GET /v1/events, or of GET /v1/jobs/{id}/events: what an event stream follows.
type EventsQuery struct {
	Jobs    []string // the jobs named by job, each once in the canonical form of its ID
	Mine    bool     // all jobs of the client's subject
	Streams []string // the streams of each job, named by stream
}

// ParseEventsQuery reads the query of GET /v1/events. It passes over what authenticates the client: grant and ticket.
// The error says for people which parameter is wrong.
func ParseEventsQuery(query string) (q EventsQuery, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return q, errors.New("the query cannot be read")
	}
	for name := range values {
		if name != "job" && name != "mine" && name != "stream" && name != "grant" && name != "ticket" {
			return q, fmt.Errorf("%.64q is not a parameter here", name)
		}
	}
	if of, ok := values["mine"]; ok {
		if len(of) != 1 || of[0] != "true" || len(values["job"])+len(values["stream"]) > 0 {
			return q, errors.New("mine is true, once, and without job or stream")
		}
		q.Mine = true
		return q, nil
	}
	named := make(map[string]bool, len(values["job"]))
	for _, text := range values["job"] {
		jobID, ok := job.ParseID(text)
		if !ok {
			return q, fmt.Errorf("job: %.64q is not a job ID", text)
		}
		if !named[jobID] {
			named[jobID] = true
			q.Jobs = append(q.Jobs, jobID)
		}
	}
	if len(q.Jobs) == 0 {
		return q, errors.New("job is missing")
	}
	q.Streams, err = ParseStreamNames(values["stream"])
	return q, err
}

// ParseStreamNames checks the names of streams in a query: at most job.MaxStreams, each once.
func ParseStreamNames(names []string) ([]string, error) {
	if len(names) > job.MaxStreams {
		return nil, fmt.Errorf("stream names more than %d", job.MaxStreams)
	}
	for i, name := range names {
		if !job.ValidStream(name) {
			return nil, fmt.Errorf("stream: %.64q is not the name of a stream", name)
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("stream: %s is named twice", name)
		}
	}
	return names, nil
}
