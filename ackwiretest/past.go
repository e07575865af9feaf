package ackwiretest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// testWorker wrote the events of attempts.
const testWorker = "ackwiretest"

// noteLocked adds an event to a job's history after the job has changed. This server has no log of events, so the type
// of the event follows from the job's states before and after the change; no event is ever refused.
func (s *Server) noteLocked(r *record) {
	applied, is := true, r.doc.State
	e := frame.HistoryEvent{Offset: s.version - 1, At: r.doc.UpdatedAt, Type: eventOf(r), Applied: &applied, State: is,
		Attempt: r.doc.Attempt}
	e.By = e.Type.Writer()
	if e.By == event.ByWorker {
		e.Worker, e.Dispatch = testWorker, r.dispatch
	}
	switch {
	case e.Type == event.Progress:
		e.Progress, _ = plainjson.Marshal(r.doc.Progress) // what is in it was JSON
	case e.Type == event.Failed && r.doc.Error != nil:
		e.Error, _ = plainjson.Marshal(r.doc.Error)
	}
	r.past, r.was = append(r.past, e), is
}

// eventOf returns the event by which the job has come from the state was to its present one.
func eventOf(r *record) event.Type {
	switch was, is := r.was, r.doc.State; {
	case was == "":
		return event.Accepted
	case was.Terminal() && !is.Terminal():
		return event.RetryRequested
	case is == job.Processing && was != job.Processing:
		return event.Claimed
	case is == job.Completed:
		return event.Completed
	case is == job.Cancelled, r.doc.CancelRequested && is == job.Processing:
		return event.CancelRequested
	case is == job.Pending:
		return event.Requeued
	case is == job.Processing:
		return event.Progress
	case was != job.Processing:
		return event.DeadlineExceeded
	}
	return event.Failed
}

func (s *Server) getHistory(w http.ResponseWriter, q *http.Request) {
	limit, from, err := historyQuery(q.URL.Query(), q.PathValue("id"))
	if err != nil {
		problem(w, frame.NewProblem(code.InvalidFrame, err.Error()))
		return
	}
	s.withJob(func(w http.ResponseWriter, r record) {
		h := frame.History{JobID: r.doc.JobID, Events: []frame.HistoryEvent{}, AsOf: stamp(time.Now())}
		for i := from; i < len(r.past); i++ {
			if len(h.Events) == limit {
				h.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(q.PathValue("id") + " " + strconv.Itoa(i)))
				break
			}
			h.Events = append(h.Events, r.past[i])
		}
		answer(w, http.StatusOK, h)
	})(w, q)
}

func historyQuery(values url.Values, jobID string) (limit, from int, err error) {
	limit = frame.DefaultHistoryLimit
	for name, all := range values {
		switch name {
		case "limit":
			limit, err = strconv.Atoi(all[0])
			if err != nil || limit < 1 || limit > frame.MaxHistoryLimit {
				return 0, 0, fmt.Errorf("limit must be from 1 to %d", frame.MaxHistoryLimit)
			}
		case "cursor":
			var of string
			b, _ := base64.RawURLEncoding.DecodeString(all[0])
			if n, _ := fmt.Sscanf(string(b), "%s %d", &of, &from); n != 2 || of != jobID || from < 1 {
				return 0, 0, errors.New("cursor is not one of this job's history")
			}
		default:
			return 0, 0, fmt.Errorf("%.64q is not a parameter here", name)
		}
	}
	return limit, from, nil
}

func (s *Server) getPayload(w http.ResponseWriter, r record) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(r.request.Payload)
}
