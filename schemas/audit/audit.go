// Package audit defines the records of the topic audit: who did what to whose job, with which outcome, and when.
//
// A record has no token, grant or payload. Of the token there is only its ID (the claim jti), by which its issuer knows
// it.
package audit

import (
	"errors"
	"fmt"
	"time"

	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Version is the value of "v" in every record of this package.
const Version = 1

// Deed is what was done.
type Deed string

// The deeds that are recorded.
const (
	GrantMade Deed = "grantMade" // a grant was made, by a request of its own or in the ack of a submit
	Cancelled Deed = "cancel"    // a job of another user, or of another tenant, was cancelled
	Retried   Deed = "retry"     // a job of another user, or of another tenant, was retried
	Erased    Deed = "erase"     // a job was erased
	// PayloadRead: what another user, or another tenant, has submitted was read.
	PayloadRead Deed = "payload"
	// DeadRead: a dead letter was read with what it holds, which may be what somebody submitted.
	DeadRead     Deed = "deadRead"
	DeadRequeued Deed = "deadRequeue" // a dead letter was tried again
	// BulkOrdered: a bulk action was ordered. What it does to jobs of others is recorded for each of them.
	BulkOrdered Deed = "bulk"
)

// Deeds lists every deed.
var Deeds = []Deed{GrantMade, Cancelled, Retried, Erased, PayloadRead, DeadRead, DeadRequeued, BulkOrdered}

// OK is the outcome of a deed that was done. Any other outcome is the code of the error with which it was refused, or
// "indeterminate".
const OK = "ok"

// Record is the value of one record. Its key is the tenant.
type Record struct {
	V int `json:"v"` // Version
	// At is when the deed was done, by the gateway's clock. The record's timestamp is the broker's.
	At      time.Time `json:"at"`
	Deed    Deed      `json:"deed"`
	Outcome string    `json:"outcome"` // OK or the code of an error

	// Who did it: tenant and subject of the token, and its ID, if it has one. A client without a token has no subject.
	Tenant  string `json:"tenant"`
	Subject string `json:"subject,omitempty"`
	TokenID string `json:"tokenId,omitempty"`
	// ByGrant says that the token was a grant.
	ByGrant bool `json:"byGrant,omitempty"`

	// To which job, and whose it is. They are absent for a grant.
	JobID   string `json:"jobId,omitempty"`
	JobType string `json:"jobType,omitempty"`
	Owner   *Owner `json:"owner,omitempty"`

	Grant *Grant `json:"grant,omitempty"` // of grantMade

	DeadLetter string `json:"deadLetter,omitempty"` // its ID, of deadRead and deadRequeue

	Bulk *Bulk `json:"bulk,omitempty"` // of bulk

	// RequestID is that of the HTTP request's answer (X-Request-Id); for a frame of a socket it is the name of the
	// connection, which the gateway's log and its welcome tell.
	RequestID string `json:"requestId,omitempty"`
}

// Owner is the submitter of a job.
type Owner struct {
	Tenant  string `json:"tenant"`            // of the token with which it was submitted
	Subject string `json:"subject,omitempty"` // of that token; empty for a client without one
}

// Bulk is what a bulk action is to do. Its job is the record's JobID.
type Bulk struct {
	Action string `json:"action"` // retry, cancel or erase
	// Filter selects the jobs: the parameters of GET /v1/jobs.
	Filter map[string][]string `json:"filter"`
	Tenant string              `json:"tenant"` // whose jobs
	Jobs   int                 `json:"jobs"`   // how many
}

// Grant is what a grant opens.
type Grant struct {
	ID          string    `json:"id"`              // its claim jti
	Jobs        []string  `json:"jobs,omitempty"`  // IDs of the only jobs that it opens
	Types       []string  `json:"types,omitempty"` // types of the only jobs that it opens
	Permissions []string  `json:"permissions"`     // what its holder may do with them
	Expires     time.Time `json:"expires"`         // its claim exp
}

// ErrVersion is returned for a record of a version this package does not know.
var ErrVersion = errors.New("unknown version of an audit record")

// Encode sets the version of r, validates it, and returns its JSON encoding.
func Encode(r *Record) ([]byte, error) {
	r.V = Version
	if err := r.validate(); err != nil {
		return nil, err
	}
	return plainjson.Marshal(r)
}

// Decode reads one record and validates it. Unknown fields and deeds of later releases are accepted.
func Decode(value []byte) (r Record, err error) {
	if err := strict.Unmarshal(value, &r); err != nil {
		return Record{}, fmt.Errorf("decode audit record: %w", err)
	}
	return r, r.validate()
}

func (r *Record) validate() error {
	switch {
	case r.V != Version:
		return fmt.Errorf("%w %d", ErrVersion, r.V)
	case r.Deed == "" || r.Outcome == "" || r.Tenant == "" || r.At.IsZero():
		return errors.New("audit record without deed, outcome, tenant or time")
	case r.Deed == GrantMade && r.Grant == nil:
		return errors.New("audit record of a grant without the grant")
	}
	return nil
}
