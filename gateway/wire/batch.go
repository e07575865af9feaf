package wire

import (
	"bytes"
	"encoding/json"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// batchNesting bounds how deeply a batch may be nested, its items included. An item of its own has frame.MaxNesting.
const batchNesting = 10 * frame.MaxNesting

// batchMembers bounds the members of a batch's object, of which only a few have a meaning.
const batchMembers = 64

// DecodeBatch reads the body of POST /v1/jobs:batch. The error, a frame.Problem, is about the body as a whole; what is
// wrong with one item is the item's error.
func DecodeBatch(b []byte) ([]bulk.Item, error) {
	if depth := nesting(b); depth > batchNesting {
		return nil, invalid("nested deeper than %d", batchNesting)
	}
	jobs, err := batchJobs(b)
	if err != nil {
		return nil, err
	}
	return DecodeSubmits(jobs)
}

// batchJobs returns the list in the member jobs of an object, and checks that the object is valid apart from duplicate
// keys within its members, which are the matter of the item that has them.
func batchJobs(b []byte) (json.RawMessage, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '{' {
		return nil, invalid("not a JSON object")
	}
	_, _ = dec.ReadToken() // it was peeked at
	var jobs json.RawMessage
	seen := map[string]bool{}
	for dec.PeekKind() == '"' {
		token, err := dec.ReadToken()
		if err != nil {
			return nil, invalid("not valid JSON at byte %d", dec.InputOffset())
		}
		name := token.String()
		if seen[name] {
			return nil, invalid("duplicate key /%.64s", name)
		}
		seen[name] = true
		if len(seen) > batchMembers {
			return nil, invalid("a batch has more than %d members", batchMembers)
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, invalid("not valid JSON at byte %d", dec.InputOffset())
		}
		if name == "jobs" {
			end := dec.InputOffset()
			jobs = b[end-int64(len(value)) : end]
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, invalid("not valid JSON at byte %d", dec.InputOffset())
	}
	if rest := bytes.TrimLeft(b[dec.InputOffset():], " \t\r\n"); len(rest) > 0 {
		return nil, invalid("not valid JSON at byte %d", dec.InputOffset())
	}
	return jobs, nil
}

// DecodeSubmits reads the list of a batch, which is valid JSON apart from duplicate keys. It stops at the first item
// too many.
func DecodeSubmits(jobs json.RawMessage) ([]bulk.Item, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(jobs), jsontext.AllowDuplicateNames(true))
	if dec.PeekKind() != '[' {
		return nil, invalid("jobs must be a list of 1 to %d submits", frame.MaxBatch)
	}
	_, _ = dec.ReadToken() // it was peeked at
	var items []bulk.Item
	grants := 0
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil {
			return nil, invalid("jobs is not valid JSON at byte %d", dec.InputOffset())
		}
		if len(items) == frame.MaxBatch {
			return nil, problem(code.LimitExceeded, "a batch may have %d submits", frame.MaxBatch)
		}
		end := dec.InputOffset()
		item := bulk.Item{Bytes: int64(len(value))}
		item.Request, item.Err = DecodeSubmit(jobs[end-item.Bytes : end])
		if item.Request.Grant != nil && item.Err == nil {
			grants++
			if grants > frame.MaxBatchGrants {
				item.Err = problem(code.LimitExceeded, "%d submits of a batch may ask for a grant", frame.MaxBatchGrants)
			}
		}
		items = append(items, item)
	}
	if len(items) == 0 {
		return nil, invalid("jobs must be a list of 1 to %d submits", frame.MaxBatch)
	}
	return items, nil
}
