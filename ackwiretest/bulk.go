package ackwiretest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
)

// ShowWorkers sets what GET /v1/workers answers: by default that there are none. The answer's time is its own.
func (s *Server) ShowWorkers(all frame.Workers) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = all
}

func (s *Server) getWorkers(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	all := s.workers
	s.mu.Unlock()
	if all.Workers == nil {
		all.Workers = []frame.Worker{}
	}
	if all.Lanes == nil {
		all.Lanes = []frame.WorkerLane{}
	}
	all.AsOf = stamp(time.Now())
	answer(w, http.StatusOK, all)
}

// postBulk takes a bulk action, and does it at once.
func (s *Server) postBulk(w http.ResponseWriter, r *http.Request) {
	var asked frame.BulkRequest
	if !readBody(w, r, maxBody, &asked) || !readKey(w, r, &asked.Key) {
		return
	}
	query, err := checkBulk(whoOf(r), asked)
	if err != nil {
		problem(w, err)
		return
	}
	s.mu.Lock()
	told, err := s.bulkLocked(asked, query)
	s.mu.Unlock()
	switch {
	case err != nil:
		problem(w, err)
	case asked.Preview:
		answer(w, http.StatusOK, told)
	default:
		w.Header().Set("Location", told.StatusURL)
		answer(w, http.StatusAccepted, told)
	}
}

// checkBulk checks a request, and returns which jobs it is about.
func checkBulk(who identity, asked frame.BulkRequest) (query listQuery, err error) {
	invalid := func(detail string) (listQuery, error) {
		return listQuery{}, frame.NewProblem(code.InvalidFrame, detail)
	}
	if !slices.Contains(frame.BulkActions, asked.Action) {
		return invalid("action is not retry, cancel or erase")
	}
	needed := map[frame.BulkAction]string{
		frame.BulkRetry: maySubmit, frame.BulkCancel: mayCancel, frame.BulkErase: mayErase,
	}
	if err := who.check(mayRead, needed[asked.Action]); err != nil {
		return listQuery{}, err
	}
	if who.scope != nil {
		return listQuery{}, frame.NewProblem(code.Forbidden, "a grant does not permit bulk actions")
	}
	switch values := url.Values(asked.Filter); {
	case asked.Filter == nil:
		return invalid("filter is missing")
	case values.Has("limit") || values.Has("cursor"):
		return invalid("limit and cursor are not parameters here")
	default:
		query, err = readList(values)
	}
	if err != nil {
		return invalid(err.Error())
	}
	for _, state := range asked.Filter["state"] {
		if !asked.Action.Takes(job.State(state)) {
			return invalid(fmt.Sprintf("filter: %s is not possible for jobs that are %s", asked.Action, state))
		}
	}
	if !asked.Preview && (asked.Expect == nil || *asked.Expect < 1) {
		return invalid("expect must be the number of jobs that match, at least 1; preview tells it")
	}
	return query, nil
}

// bulkLocked counts the jobs of a bulk action, and does it unless only the count is asked for. Its job has ended then.
func (s *Server) bulkLocked(asked frame.BulkRequest, query listQuery) (told frame.BulkAnswer, err error) {
	payload, err := plainjson.Marshal(frame.BulkRequest{Action: asked.Action, Filter: asked.Filter, Expect: asked.Expect})
	if err != nil {
		return told, err
	}
	own := frame.SubmitRequest{Job: topic.BulkType, Key: asked.Key, Payload: payload}
	var all []*record
	if old := s.keys[own.Job+"\x00"+asked.Key]; asked.Preview || asked.Key == "" || old == nil {
		all = s.matchingLocked(asked, query)
		told = frame.BulkAnswer{Action: asked.Action, Count: int64(len(all)), Examples: []string{}}
		for _, r := range all[:min(len(all), frame.MaxBulkExamples)] {
			told.Examples = append(told.Examples, r.doc.JobID)
		}
		if asked.Preview {
			return told, nil
		}
		if n := told.Count; n != *asked.Expect {
			p := frame.NewProblem(code.CountDiffers, fmt.Sprintf("%d jobs match, not %d", n, *asked.Expect))
			p.Count = &n
			return told, p
		}
	} else {
		told = frame.BulkAnswer{Action: asked.Action, Count: *asked.Expect, Examples: []string{}}
	}
	ack, r, err := s.createLocked(own, 1)
	if err != nil {
		return told, err
	}
	told.JobID, told.State, told.StatusURL = ack.JobID, ack.State, ack.StatusURL
	if ack.Duplicate {
		return told, nil
	}
	s.beginLocked(r)
	for _, one := range all {
		s.touchLocked(asked.Action, one)
	}
	none := map[frame.BulkReason]int64{}
	for _, reason := range frame.BulkReasons {
		none[reason] = 0
	}
	result, err := plainjson.Marshal(frame.BulkResult{Action: asked.Action, Matched: told.Count, Done: told.Count,
		Skipped: none, Jobs: []frame.BulkSkipped{}})
	r.complete(result, nil)
	s.changedLocked(r)
	return told, err
}

// matchingLocked returns the jobs of a bulk action, the newest first. Bulk actions are among them only if their type is
// asked for.
func (s *Server) matchingLocked(asked frame.BulkRequest, query listQuery) (all []*record) {
	named := len(asked.Filter["type"]) > 0
	for _, r := range slices.Backward(s.order) {
		takes := asked.Action.Takes(r.doc.State)
		if len(asked.Filter["state"]) == 0 {
			takes = slices.Contains(asked.Action.States(), r.doc.State)
		}
		if s.records[r.doc.JobID] == r && takes && query.takes(r) && (named || r.doc.Type != topic.BulkType) {
			all = append(all, r)
		}
	}
	return all
}

// touchLocked does to a job what a bulk action does.
func (s *Server) touchLocked(action frame.BulkAction, r *record) {
	switch action {
	case frame.BulkErase:
		r.stopTimers()
		s.removeLocked(r)
		return
	case frame.BulkCancel:
		r.cancel()
	default:
		r.retry()
	}
	s.changedLocked(r)
}
