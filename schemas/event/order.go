package event

import (
	"errors"
	"fmt"

	"github.com/ackwire/ackwire/schemas/codec"
	"github.com/ackwire/ackwire/schemas/job"
)

// OrderType says what a run is to do.
type OrderType string

const (
	// Granted says that the claim was accepted: a run that waits may start.
	Granted OrderType = "granted"
	// Stop says that the run does not hold the job and never will: it ends at once and reports nothing.
	Stop OrderType = "stop"
	// Quit says that the job was cancelled: the handler's context ends, and the run reports its outcome.
	Quit OrderType = "quit"
)

// OrderTypes lists every order type.
var OrderTypes = []OrderType{Granted, Stop, Quit}

// Order is one record of the topic control, keyed by worker. Orders may be lost or duplicated: the tracker sends an
// order again whenever the run appends another event.
type Order struct {
	V        int       `json:"v"`        // Version
	Type     OrderType `json:"type"`     // what the run is to do
	JobID    string    `json:"jobId"`    // the run's job
	Dispatch int       `json:"dispatch"` // of the run, as in its claim
	Run      string    `json:"run"`      // the run that the order is for
	Worker   string    `json:"worker"`   // the run's worker, which is the record's key
	// Reason, in stop, is why the fold refused the run: one of a fixed set of words.
	Reason string `json:"reason,omitempty"`
}

var orders = codec.New[Order]()

// DecodeOrder reads one order and validates it. Unknown fields are ignored.
func DecodeOrder(value []byte) (Order, error) {
	var o Order
	if _, err := orders.Decode(value, &o); err != nil {
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

// EncodeOrder returns the JSON encoding of o, with its version set.
func EncodeOrder(o Order) ([]byte, error) {
	o.V = Version
	return orders.Encode(&o)
}
