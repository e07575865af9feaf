package frame

import (
	"encoding/json"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// Ticket answers POST /v1/ws-tickets: it opens one socket, once, until ExpiresAt.
type Ticket struct {
	Ticket    string    `json:"ticket"`    // a secret
	URL       string    `json:"url"`       // relative to the gateway's
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

// AsOfHeader tells how fresh the answer of GET /v1/jobs/{id} is: all that the log held at
// this time is in it. RFC 3339 with milliseconds.
const AsOfHeader = "Ackwire-As-Of"

// JobList is the body of GET /v1/jobs: documents, newest first.
type JobList struct {
	Jobs []json.RawMessage `json:"jobs"` // of type job.Document
	// NextCursor asks for what stands behind; absent when that was all. A page may be short,
	// or empty, and have one.
	NextCursor string    `json:"nextCursor,omitempty"`
	AsOf       time.Time `json:"asOf"`
}

// Stats is the body of GET /v1/stats: the tenant's jobs, and every lane.
type Stats struct {
	Counts []Count   `json:"counts"` // the tenant's jobs, by type, lane and state
	Lanes  []Lane    `json:"lanes"`  // of all tenants
	AsOf   time.Time `json:"asOf"`   // up to when the log is counted
}

// Count is how many jobs of a type stand in a state.
type Count struct {
	Type  string    `json:"type"`  // the job type
	Lane  string    `json:"lane"`  // where the jobs run
	State job.State `json:"state"` // where they stand
	Jobs  int64     `json:"jobs"`  // how many there are
}

// Lane is what a lane's jobs, of all tenants, meet.
type Lane struct {
	Lane string `json:"lane"` // the lane's name
	// Workers counts the members of the lane's consumer group.
	Workers int `json:"workers"`
	// Waiting counts the requests that no worker has taken.
	Waiting int64 `json:"waiting"`
}

// Deliveries is the body of GET /v1/jobs/{id}/deliveries: the job's last webhooks, the oldest
// first.
type Deliveries struct {
	JobID      string     `json:"jobId"`      // the job that was asked for
	Deliveries []Delivery `json:"deliveries"` // empty for a job without a callback
}

// Delivery is a webhook. It is a job of its own, which may be read and retried as such.
type Delivery struct {
	DeliveryID string `json:"deliveryId"` // the webhook's ID as a job, and what the endpoint is given as webhook-id
	// Event is the message's type, such as "job.completed"; Version is the job's when that
	// state began.
	Event   string `json:"event"`
	Version int64  `json:"version"`
	// Job is the delivery's own document: its state, attempts and errors. Absent once its
	// retention is over.
	Job json.RawMessage `json:"job,omitempty"`
}

// Why is the body of GET /v1/jobs/{id}/why: what a job waits for.
type Why struct {
	JobID  string    `json:"jobId"`  // the job that was asked for
	State  job.State `json:"state"`  // where it stands
	Reason Reason    `json:"reason"` // what it waits for, for programs
	// Detail is one sentence for people.
	Detail string `json:"detail"`
	Lane   string `json:"lane"`
	// Workers and Waiting are those of the lane; set while the job waits for a worker.
	Workers *int   `json:"workers,omitempty"`
	Waiting *int64 `json:"waiting,omitempty"`
	// Ahead counts the requests that are before this one in its partition.
	Ahead int64 `json:"ahead,omitempty"`
	// NextAt is when the job goes on by itself.
	NextAt *time.Time `json:"nextAt,omitempty"`
	AsOf   time.Time  `json:"asOf"`
}

// Reason is why a job stands where it does.
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
	NoWorkers       Reason = "no_workers"
	BehindOthers    Reason = "behind_others"
	AboutToStart    Reason = "about_to_start" // a worker has it, or takes it next
)

// Reasons lists every reason.
var Reasons = []Reason{
	Ended, Running, Cancelling, Scheduled, WaitingForRetry, Unserved, BeingHandedOut, NoWorkers, BehindOthers,
	AboutToStart,
}
