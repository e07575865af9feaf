package frame

import (
	"encoding/json"

	"github.com/ackwire/ackwire/schemas/job"
)

// JobTypes is the body of GET /v1/job-types: the job types that the client may know, by name.
type JobTypes struct {
	JobTypes []JobType `json:"jobTypes"` // sorted by their names
}

// JobType is a job type and its rules. A job keeps the rules with which it was submitted.
type JobType struct {
	Type       string     `json:"type"`       // such as "report.generate"
	Lane       string     `json:"lane"`       // where its jobs wait
	Policy     job.Policy `json:"policy"`     // what every job of the type is given
	MaxPayload int        `json:"maxPayload"` // the largest payload, in bytes
	// PayloadSchema and ResultSchema are JSON Schemas (draft 2020-12); absent where everything is accepted.
	PayloadSchema json.RawMessage `json:"payloadSchema,omitempty"`
	ResultSchema  json.RawMessage `json:"resultSchema,omitempty"`
	// StreamLimit, in bytes, and StreamRate, in bytes per second, bound what a run may write to its streams; absent where
	// the worker's settings do.
	StreamLimit int `json:"streamLimit,omitempty"`
	StreamRate  int `json:"streamRate,omitempty"`
}
