package ackwiretest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// maxBatchBody is the largest body of a batch, in bytes, as a gateway has it by default.
const maxBatchBody = 4 << 20

// batched is an item of a batch: what became of it, and whether the client watches its job.
type batched struct {
	request frame.SubmitRequest
	watches bool
	ack     frame.AckFrame
	made    *record // the job; nil if it was refused
	err     error
}

// readBatch reads the list of a batch. The error is about the list as a whole.
func readBatch(jobs json.RawMessage) ([]batched, error) {
	var list []json.RawMessage
	switch {
	case json.Unmarshal(jobs, &list) != nil || len(list) == 0:
		return nil, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("jobs must be a list of 1 to %d submits", frame.MaxBatch))
	case len(list) > frame.MaxBatch:
		return nil, frame.NewProblem(code.LimitExceeded, fmt.Sprintf("a batch may have %d submits", frame.MaxBatch))
	}
	items := make([]batched, len(list))
	grants := 0
	for i, raw := range list {
		it := &items[i]
		if json.Unmarshal(raw, &it.request) != nil || raw[0] != '{' {
			it.err = frame.NewProblem(code.InvalidFrame, "the submit cannot be read")
			continue
		}
		if it.request.Grant != nil {
			grants++
		}
		if it.request.Grant != nil && grants > frame.MaxBatchGrants {
			it.err = frame.NewProblem(code.LimitExceeded,
				fmt.Sprintf("%d submits of a batch may ask for a grant", frame.MaxBatchGrants))
		}
	}
	return items, nil
}

// submitItems submits the items in their order. A delay that the test asked for is that of all together; refusals are
// of one item each. lost reports that the test loses the answer.
func (s *Server) submitItems(ctx context.Context, who identity, items []batched) (lost bool, err error) {
	for i := range items {
		if it := &items[i]; it.err == nil {
			it.err = s.refusal()
		}
	}
	if err := s.delay(ctx); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	acked := false
	for i := range items {
		if it := &items[i]; it.err == nil {
			it.ack, it.made, it.err = s.submitLocked(who, it.request)
			acked = acked || it.err == nil
		}
	}
	return acked && s.loseLocked(), nil
}

// resultsOf is what the client is told of the items.
func resultsOf(items []batched) []frame.BatchResult {
	results := make([]frame.BatchResult, len(items))
	for i := range items {
		it := &items[i]
		if it.err == nil {
			results[i] = frame.BatchResult{Outcome: frame.Acked, Ack: &it.ack}
			continue
		}
		p := problemOf(it.err)
		results[i] = frame.BatchResult{Outcome: frame.Refused, Error: &p}
		if p.Code == code.Indeterminate || p.Code == code.Internal {
			results[i].Outcome = frame.Unknown
		}
	}
	return results
}

// announceBatchLocked announces the jobs that a batch has made, after its answer.
func (s *Server) announceBatchLocked(items []batched) {
	for _, it := range items {
		if it.made != nil && !it.ack.Duplicate {
			s.announceLocked(it.made)
		}
	}
}

func (s *Server) postBatch(w http.ResponseWriter, r *http.Request) {
	if len(r.Header.Values(frame.KeyHeader)) > 0 {
		problem(w, frame.NewProblem(code.InvalidFrame, "Idempotency-Key: each job of a batch has a key of its own"))
		return
	}
	var body struct {
		Jobs json.RawMessage `json:"jobs"`
	}
	if !readBody(w, r, maxBatchBody, &body) {
		return
	}
	items, err := readBatch(body.Jobs)
	if err != nil {
		problem(w, err)
		return
	}
	for i := range items {
		if q := &items[i].request; q.Traceparent == "" {
			q.Traceparent, q.Tracestate = r.Header.Get(frame.TraceparentHeader), r.Header.Get(frame.TracestateHeader)
		}
	}
	lost, err := s.submitItems(r.Context(), whoOf(r), items)
	if err != nil {
		problem(w, err)
		return
	}
	s.mu.Lock()
	s.announceBatchLocked(items)
	s.mu.Unlock()
	if lost {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
	answer(w, http.StatusOK, frame.AcksFrame{Results: resultsOf(items)})
}

// submitBatch handles a submitBatch frame.
func (k *socket) submitBatch(ctx context.Context, f frame.ClientFrame) {
	s := k.s
	s.mu.Lock()
	who := k.who
	s.mu.Unlock()
	err := who.check(maySubmit)
	var items []batched
	if err == nil {
		items, err = readBatch(f.Jobs)
	}
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	for i := range items {
		if it := &items[i]; it.err == nil {
			it.watches, it.err = who.watches(it.request.Watch)
		}
	}
	lost, err := s.submitItems(ctx, who, items)
	if err != nil {
		k.refuse(f.ID, err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if lost {
		s.announceBatchLocked(items)
		go func() { _ = k.ws.CloseNow() }() // it may block for a moment
		return
	}
	k.send(frame.AcksFrame{Type: frame.Acks, ID: f.ID, Results: resultsOf(items)})
	for _, it := range items {
		if it.err != nil {
			continue
		}
		if it.watches {
			k.watchLocked(it.ack.JobID)
			if refs, _ := readStreams(it.request.Streams); len(refs) > 0 { // they were read when the job was made
				k.followLocked(it.made, refs)
			}
		}
		if it.ack.Duplicate {
			k.tellLocked(it.made)
		}
	}
	s.announceBatchLocked(items)
}
