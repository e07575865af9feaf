package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// pastTimeout bounds a question about a job's past, of which a tracker may read the log for five seconds. Others may be
// before it.
const pastTimeout = 15 * time.Second

// pasts are the routes of what a job was: its events, and what was submitted.
type pasts struct{ *reads }

// getHistory handles GET /v1/jobs/{id}/history.
func (ps *pasts) getHistory(w http.ResponseWriter, r *http.Request) {
	id, jobID, ok := ps.reads.reads(w, r)
	if !ok {
		return
	}
	req, err := historyRequest(r, jobID)
	if err != nil {
		ps.problem(w, err)
		return
	}
	done, err := ps.begin(id)
	if err != nil {
		ps.problem(w, err)
		return
	}
	defer done() // once the page is written
	get := id.Scope(auth.Read).GetRequest(jobID)
	req.Tenant, req.Scope = get.Tenant, get.Scope
	ctx, cancel := context.WithTimeout(r.Context(), pastTimeout)
	defer cancel()
	got, err := ps.cfg.Past.History(ctx, req)
	switch {
	case connect.CodeOf(err) == connect.CodeInvalidArgument:
		ps.problem(w, invalid(cursorParam, "is of another job that had this ID"))
	case err != nil:
		ps.problem(w, pastProblem(err))
	default:
		h := historyOf(jobID, got)
		if id.Scope(auth.Read).HidesSubject() {
			hideSubjects(h)
		}
		ps.answer(w, h)
	}
}

// pastProblem returns the error for clients of a failed question about a job's past.
func pastProblem(err error) error {
	if connect.CodeOf(err) == connect.CodeUnimplemented {
		return problem.Unavailable("the tracker is of an earlier release")
	}
	return problem.OfTracker(err)
}

const cursorParam = "cursor"

func historyRequest(r *http.Request, jobID string) (*trackerpb.HistoryRequest, error) {
	q, err := readQuery(r, "limit", cursorParam)
	if err != nil {
		return nil, err
	}
	req := &trackerpb.HistoryRequest{JobId: jobID, Limit: frame.DefaultHistoryLimit}
	if req.Limit, err = historyLimit(q); err != nil {
		return nil, err
	}
	cursor, present, err := single(q, cursorParam)
	if present && err == nil {
		req.Life, req.From, err = historyPlace(cursor, jobID)
	}
	return req, err
}

func historyLimit(q url.Values) (int32, error) {
	v, present, err := single(q, "limit")
	if err != nil || !present {
		return frame.DefaultHistoryLimit, err
	}
	n, err := strconv.ParseInt(v, 10, 32)
	if err != nil || n < 1 || n > frame.MaxHistoryLimit {
		return 0, invalid("limit", "must be from 1 to %d", frame.MaxHistoryLimit)
	}
	return int32(n), nil
}

// historyCursor encodes a place in a job's history.
func historyCursor(jobID, life string, offset int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte(jobID + " " + life + " " + strconv.FormatInt(offset, 10)))
}

// historyPlace reads a cursor of historyCursor.
func historyPlace(cursor, jobID string) (life string, offset int64, err error) {
	wrong := invalid(cursorParam, "is not one of this job's history")
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	parts := strings.Split(string(b), " ")
	if err != nil || len(cursor) > maxCursorChars || len(parts) != 3 || parts[0] != jobID {
		return "", 0, wrong
	}
	if offset, err = strconv.ParseInt(parts[2], 10, 64); err != nil || offset < 1 {
		return "", 0, wrong
	}
	return parts[1], offset, nil
}

func historyOf(jobID string, got *trackerpb.HistoryResponse) *frame.History {
	h := &frame.History{
		JobID: jobID, Events: make([]frame.HistoryEvent, 0, len(got.Events)), Truncated: got.Truncated,
		AsOf: unixTime(got.AsOf),
	}
	if got.Next > 0 {
		h.NextCursor = historyCursor(jobID, got.Life, got.Next)
	}
	if got.Earliest > 0 {
		at := unixTime(got.Earliest)
		h.Earliest = &at
	}
	for _, e := range got.Events {
		typ := event.Type(e.Type)
		shown := frame.HistoryEvent{
			Offset: e.Offset, At: unixTime(e.At), Type: typ, By: typ.Writer(), Worker: e.Worker, Subject: e.Subject,
			Run: e.Run, Dispatch: int(e.Dispatch), Round: int(e.Round), Bulk: e.Bulk, TraceID: e.TraceId,
			Progress: e.Progress,
			Error:    json.RawMessage(e.Error),
			Reason:   e.Reason, Detail: e.Detail, State: job.State(e.State), Attempt: int(e.Attempt),
		}
		if e.Verdict != trackerpb.HistoryEvent_UNKNOWN {
			applied := e.Verdict == trackerpb.HistoryEvent_APPLIED
			shown.Applied = &applied
		}
		h.Events = append(h.Events, shown)
	}
	return h
}

// hideSubjects has a history not say whose the job is, nor who has cancelled or retried it.
func hideSubjects(h *frame.History) {
	for i := range h.Events {
		h.Events[i].Subject = ""
	}
}

// begin counts what is read of a job's past, which costs much more than its document, as a list of jobs.
func (ps *pasts) begin(id auth.Identity) (done func(), err error) {
	return (&lists{door: ps.door}).beginList(id)
}

// getPayload handles GET /v1/jobs/{id}/payload: it answers with what was submitted, as it was sent.
func (ps *pasts) getPayload(w http.ResponseWriter, r *http.Request) {
	id, ok := ps.identify(w, r, auth.Read|auth.Payloads)
	if !ok {
		return
	}
	jobID, ok := job.ParseID(r.PathValue("id"))
	if !ok {
		ps.problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	if _, err := readQuery(r); err != nil {
		ps.problem(w, err)
		return
	}
	done, err := ps.begin(id)
	if err != nil {
		ps.problem(w, err)
		return
	}
	defer done()
	get := id.Scope(auth.Payloads).GetRequest(jobID)
	ctx, cancel := context.WithTimeout(r.Context(), pastTimeout)
	defer cancel()
	got, err := ps.cfg.Past.Payload(ctx, &trackerpb.PayloadRequest{JobId: jobID, Tenant: get.Tenant, Scope: get.Scope})
	if err != nil {
		ps.problem(w, pastProblem(err))
		return
	}
	note := func(outcome error) { ps.note(w, r, id, got.Job, outcome) }
	if err := ps.servePayload(w, r, got, note); err != nil {
		note(err)
		ps.problem(w, err)
	}
}

// note records that somebody has read what another has submitted.
func (ps *pasts) note(w http.ResponseWriter, r *http.Request, id auth.Identity, j *trackerpb.Job, outcome error) {
	doc, err := upstream.Document(j)
	if err != nil {
		ps.cfg.Log.Error("the type of a job whose payload was read is not known", "job", j.JobId, "err", err)
		doc = &job.Document{}
	}
	ps.cfg.Audit.PayloadRead(traceable(w, r), id, j, doc.Type, outcome)
}

// servePayload writes the payload, which it notes first, or returns why there is none.
func (ps *pasts) servePayload(
	w http.ResponseWriter, r *http.Request, got *trackerpb.PayloadResponse, note func(error),
) error {
	gone := frame.NewProblem(code.PayloadGone, "")
	head := func() {
		note(nil)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
		h.Set("Cache-Control", "private, no-cache")
	}
	switch {
	case got.Gone:
		return gone
	case got.Blob == "":
		head()
		w.Header().Set("Content-Length", strconv.Itoa(len(got.Payload)))
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(got.Payload)
		return nil
	case !strings.HasPrefix(got.Blob, event.PayloadPrefix(got.Job.JobId)):
		return fmt.Errorf("payload of job %s is in a blob of another: %s", got.Job.JobId, got.Blob)
	case ps.cfg.Blobs == nil:
		ps.cfg.Log.Error("payload is in a blob store, and this gateway has none", "job", got.Job.JobId)
		return problem.Unavailable("this gateway has no blob store")
	}
	content, err := ps.cfg.Blobs.Open(r.Context(), got.Blob)
	switch {
	case errors.Is(err, blobs.ErrNotFound):
		return gone
	case err != nil:
		ps.cfg.Log.Warn("payload not read", "job", got.Job.JobId, "err", err)
		return problem.Unavailable("the blob store does not answer")
	}
	defer func() { _ = content.Close() }()
	head()
	w.Header().Set("Content-Length", strconv.FormatInt(content.Size(), 10))
	w.WriteHeader(http.StatusOK)
	_, _ = io.Copy(w, content)
	return nil
}
