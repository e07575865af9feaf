package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/audit"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// deads are the routes of dead letters, which are of no tenant: they need the permission operate.
type deads struct{ *door }

// deadPartition is the only partition of the topic dead, which is part of a letter's ID.
const deadPartition = "0-"

func deadID(offset int64) string { return deadPartition + strconv.FormatInt(offset, 10) }

// parseDeadID returns the offset in a letter's ID.
func parseDeadID(id string) (offset int64, ok bool) {
	digits, ok := strings.CutPrefix(id, deadPartition)
	offset, err := strconv.ParseInt(digits, 10, 64)
	return offset, ok && err == nil && deadID(offset) == id && offset >= 0
}

// operator returns the identity of a client that may operate, and counts its question. If ok is false it has answered
// the request.
func (ds *deads) operator(w http.ResponseWriter, r *http.Request) (id auth.Identity, ok bool) {
	if id, ok = ds.identify(w, r, auth.Operate); !ok {
		return id, false
	}
	if err := ds.cfg.Limits.Ask(id.Tenant, id.Account(), 1); err != nil {
		ds.problem(w, err)
		return id, false
	}
	return id, true
}

// listDead handles GET /v1/dead.
func (ds *deads) listDead(w http.ResponseWriter, r *http.Request) {
	if _, ok := ds.operator(w, r); !ok {
		return
	}
	req, err := listDeadRequest(r)
	if err != nil {
		ds.problem(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ds.cfg.ReadTimeout)
	defer cancel()
	listed, err := ds.cfg.Dead.ListDead(ctx, req)
	if err != nil {
		ds.problem(w, deadProblem(err))
		return
	}
	page := frame.DeadLetters{Letters: []frame.DeadLetter{}}
	for _, l := range listed.Letters {
		page.Letters = append(page.Letters, deadLetter(l))
	}
	if listed.Next > 0 {
		page.NextCursor = deadID(listed.Next)
	}
	ds.answer(w, page)
}

func listDeadRequest(r *http.Request) (*trackerpb.ListDeadRequest, error) {
	q, err := readQuery(r, "limit", "cursor")
	if err != nil {
		return nil, err
	}
	req := &trackerpb.ListDeadRequest{Limit: frame.DefaultDeadLimit}
	if v, present, err := single(q, "limit"); err != nil {
		return nil, err
	} else if present {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > frame.MaxDeadLimit {
			return nil, invalid("limit", "must be a number from 1 to %d", frame.MaxDeadLimit)
		}
		req.Limit = int32(n)
	}
	if v, present, err := single(q, "cursor"); err != nil {
		return nil, err
	} else if present {
		before, ok := parseDeadID(v)
		if !ok || before == 0 {
			return nil, invalid("cursor", "is not one of this API")
		}
		req.Before = before
	}
	return req, nil
}

// find returns the letter in the path. If it has none it answers the request, and returns nil.
func (ds *deads) find(ctx context.Context, w http.ResponseWriter, r *http.Request) *trackerpb.DeadLetter {
	if _, err := readQuery(r); err != nil {
		ds.problem(w, err)
		return nil
	}
	offset, ok := parseDeadID(r.PathValue("id"))
	if !ok {
		ds.problem(w, errNoDead)
		return nil
	}
	got, err := ds.cfg.Dead.GetDead(ctx, &trackerpb.GetDeadRequest{Offset: offset})
	if err != nil {
		ds.problem(w, deadProblem(err))
		return nil
	}
	return got.Letter
}

// getDead handles GET /v1/dead/{id}. What a client with the permission payloads reads is recorded.
func (ds *deads) getDead(w http.ResponseWriter, r *http.Request) {
	id, ok := ds.operator(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), ds.cfg.ReadTimeout)
	defer cancel()
	l := ds.find(ctx, w, r)
	if l == nil {
		return
	}
	record := frame.DeadRecord{DeadLetter: deadLetter(l), Withheld: !id.May(auth.Payloads)}
	if !record.Withheld {
		key, value := frame.RawOf(l.Key), frame.RawOf(l.Value)
		record.Key, record.Value = &key, &value
		for _, h := range l.Headers {
			record.Headers = append(record.Headers, frame.DeadHeader{Name: h.Key, Raw: frame.RawOf(h.Value)})
		}
		ds.cfg.Audit.DeadDone(traceable(w, r), id, audit.DeadRead, record.ID, l.JobId, nil)
	}
	ds.answer(w, record)
}

// requeueDead handles POST /v1/dead/{id}/requeue.
func (ds *deads) requeueDead(w http.ResponseWriter, r *http.Request) {
	id, ok := ds.operator(w, r)
	if !ok {
		return
	}
	// It goes on when the client leaves: what is written then is recorded.
	ctx, cancel := context.WithTimeout(traceable(w, r), ds.cfg.ReadTimeout)
	defer cancel()
	l := ds.find(ctx, w, r)
	if l == nil {
		return
	}
	done, err := ds.requeue(ctx, l)
	ds.cfg.Audit.DeadDone(traceable(w, r), id, audit.DeadRequeued, deadID(l.Offset), l.JobId, err)
	if err != nil {
		ds.problem(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	_ = plainjson.Write(w, done)
}

// requeue tries a letter again.
func (ds *deads) requeue(ctx context.Context, l *trackerpb.DeadLetter) (done frame.DeadRequeued, err error) {
	req := &trackerpb.RequeueDeadRequest{Offset: l.Offset}
	if l.Request {
		req.JobId = l.JobId
	}
	got, err := ds.cfg.Dead.RequeueDead(ctx, req)
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		if err != nil { // the record may be written; to try again does no harm
			return done, problem.Indeterminate(l.JobId)
		}
	}
	if err != nil {
		return done, deadProblem(err)
	}
	switch got.Outcome {
	case trackerpb.RequeueDeadResponse_DISPATCHED:
		return frame.DeadRequeued{Outcome: frame.RequeueDispatched, JobID: l.JobId}, nil
	case trackerpb.RequeueDeadResponse_WRITTEN:
		at := got.Written
		return frame.DeadRequeued{Outcome: frame.RequeueWritten, Topic: at.Topic, Partition: &at.Partition,
			Offset: &at.Offset}, nil
	case trackerpb.RequeueDeadResponse_ENDED:
		return done, frame.NewProblem(code.InvalidState,
			fmt.Sprintf("the job has ended: it is %s; to run it again, retry the job", got.State))
	case trackerpb.RequeueDeadResponse_NOT_WAITING:
		return done, frame.NewProblem(code.InvalidState,
			fmt.Sprintf("the job is %s and does not wait for this request: there is nothing to do", got.State))
	case trackerpb.RequeueDeadResponse_OUTLIVED:
		return done, frame.NewProblem(code.NotFound,
			"the job is not known, and its request is older than its retention: it may have run and expired")
	case trackerpb.RequeueDeadResponse_FOREIGN:
		return done, frame.NewProblem(code.InvalidState,
			"only records of status, of deferred and of lanes can be written again")
	}
	return done, fmt.Errorf("outcome %s of a requeue", got.Outcome)
}

var errNoDead = frame.NewProblem(code.NotFound, "no such dead letter")

// deadProblem returns the error for clients of an error of the upstream.
func deadProblem(err error) error {
	switch connect.CodeOf(err) {
	case connect.CodeNotFound:
		return errNoDead
	case connect.CodePermissionDenied:
		return problem.Unavailable("Kafka does not permit trackers to read dead letters: give them the permissions that " +
			"the topic dead needs")
	case connect.CodeUnimplemented:
		return problem.Unavailable("the trackers are of an earlier release")
	}
	return problem.OfTracker(err)
}

// deadLetter returns a letter for clients, without the record.
func deadLetter(l *trackerpb.DeadLetter) frame.DeadLetter {
	return frame.DeadLetter{ID: deadID(l.Offset), At: unixTime(l.At), Reason: l.Reason, Detail: l.Detail, By: l.By,
		Topic: l.Topic, Partition: l.Partition, Offset: l.SourceOffset, JobID: l.JobId, Request: l.Request, Bytes: l.Bytes}
}
