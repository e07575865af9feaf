package event

import (
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// OrderType is what the tracker tells a run.
type OrderType string

const (
	// Granted says that the claim was taken; a run that waited may start.
	Granted OrderType = "granted"
	// Stop says that the run holds nothing and never will; it ends without another word.
	Stop OrderType = "stop"
	// Quit says that the job's owner wants it to stop; the handler's context ends and the run
	// reports its outcome.
	Quit OrderType = "quit"
)

// OrderTypes lists every order type.
var OrderTypes = []OrderType{Granted, Stop, Quit}

// Order is one record of the topic control, keyed by worker. Orders may be lost or
// doubled; they are repeated whenever the run speaks again.
type Order struct {
	V        int       `json:"v"`        // Version
	Type     OrderType `json:"type"`     // what the run is told
	JobID    string    `json:"jobId"`    // the run's job
	Dispatch int       `json:"dispatch"` // of the run, as in its claim
	Run      string    `json:"run"`      // the run that is meant
	Worker   string    `json:"worker"`   // the worker whose run it is: the record's key
	// Reason, in stop, is why the fold refused the run: one of a fixed set of words.
	Reason string `json:"reason,omitempty"`
}

// DecodeOrder reads one order and validates it. Unknown fields are ignored.
func DecodeOrder(value []byte) (Order, error) {
	var o Order
	if err := strict.Unmarshal(value, &o); err != nil {
		return Order{}, fmt.Errorf("decode order: %w", err)
	}
	switch {
	case o.V != Version:
		return Order{}, fmt.Errorf("order: %w %d", ErrVersion, o.V)
	case o.Type != Granted && o.Type != Stop && o.Type != Quit:
		return Order{}, fmt.Errorf("unknown order type %.64q", o.Type)
	case o.JobID == "" || o.Run == "" || o.Worker == "" || o.Dispatch < 1 || o.Dispatch > maxCount:
		return Order{}, errors.New("order without valid jobId, dispatch, run or worker")
	case !job.Bounded(o.JobID, job.MaxNameChars) || !job.Bounded(o.Run, job.MaxNameChars) ||
		!job.Bounded(o.Worker, job.MaxNameChars):
		return Order{}, fmt.Errorf("order with a jobId, run or worker of more than %d characters", job.MaxNameChars)
	}
	return o, nil
}

// EncodeOrder gives the bytes of o, with its version set.
func EncodeOrder(o Order) ([]byte, error) {
	o.V = Version
	return plainjson.Marshal(o)
}
