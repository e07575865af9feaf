package bulk

import (
	"errors"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// maxDetails bounds the bytes of all that an answer may leave out: the details and field errors of problems, and
// warnings. Without it a thousand small submits could ask for an answer of many megabytes.
const maxDetails = 128 << 10

// Answer returns the results as clients are told them. failed is called with each error that is not a frame.Problem:
// clients are told of an internal error, and as it is not known what was written, that the outcome is unknown.
func Answer(results []Result, failed func(error)) []frame.BatchResult {
	answer := make([]frame.BatchResult, len(results))
	room := maxDetails
	for i, r := range results {
		if r.Err == nil {
			ack := r.Ack
			room -= len(ack.Warning)
			if room < 0 {
				ack.Warning = ""
			}
			answer[i] = frame.BatchResult{Outcome: frame.Acked, Ack: &ack}
			continue
		}
		outcome := frame.Refused
		var p frame.Problem
		switch {
		case !errors.As(r.Err, &p):
			failed(r.Err)
			p, outcome = frame.NewProblem(code.Internal, ""), frame.Unknown
		case p.Code == code.Indeterminate:
			outcome = frame.Unknown
		}
		room -= detailBytes(p)
		if room < 0 {
			p.Detail, p.Errors = "", nil
		}
		answer[i] = frame.BatchResult{Outcome: outcome, Error: &p}
	}
	return answer
}

func detailBytes(p frame.Problem) int {
	n := len(p.Detail)
	for _, e := range p.Errors {
		n += len(`{"pointer":"","detail":""},`) + len(e.Pointer) + len(e.Detail)
	}
	return n
}

// FirstError returns the first error if no item was acked.
func FirstError(results []Result) error {
	var first error
	for _, r := range results {
		if r.Err == nil {
			return nil
		}
		if first == nil {
			first = r.Err
		}
	}
	return first
}
