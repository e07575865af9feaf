package api

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// reads are the routes of one job.
type reads struct{ *door }

// reads returns the client's identity and the ID of the job in the path. If ok is false it has answered the request.
func (rd *reads) reads(w http.ResponseWriter, r *http.Request) (id auth.Identity, jobID string, ok bool) {
	if id, ok = rd.identify(w, r, auth.Read); !ok {
		return id, "", false
	}
	if jobID, ok = job.ParseID(r.PathValue("id")); !ok {
		rd.problem(w, frame.NewProblem(code.NotFound, ""))
		return id, "", false
	}
	if err := rd.cfg.Limits.Ask(id.Tenant, id.Account(), 1); err != nil {
		rd.problem(w, err)
		return id, "", false
	}
	return id, jobID, true
}

// readNow returns the current state of the job in the path, and the client's identity. If ok is false it has answered
// the request. strict refuses requests with a query.
func (rd *reads) readNow(
	w http.ResponseWriter, r *http.Request, strict bool,
) (got *trackerpb.GetResponse, id auth.Identity, ok bool) {
	id, jobID, ok := rd.reads(w, r)
	if !ok {
		return nil, id, false
	}
	if strict {
		if _, err := readQuery(r); err != nil {
			rd.problem(w, err)
			return nil, id, false
		}
	}
	got, err := rd.read(r.Context(), id.Scope(auth.Read).GetRequest(jobID), 0)
	if err != nil {
		rd.problem(w, problem.OfTracker(err))
		return nil, id, false
	}
	return got, id, true
}

// read gets a job from its tracker, when it has ended or after wait. A drain ends the wait early: the client then gets
// the current state.
func (rd *reads) read(
	ctx context.Context, request *trackerpb.GetRequest, wait time.Duration,
) (*trackerpb.GetResponse, error) {
	if wait > 0 {
		request.UntilTerminal = true
		waiting, cancel := rd.cfg.untilDrain(ctx, wait)
		got, err := rd.cfg.Trackers.Get(waiting, request)
		cancel()
		if err == nil || ctx.Err() != nil || connect.CodeOf(err) == connect.CodeNotFound {
			return got, err
		}
		request.UntilTerminal = false
	}
	ctx, cancel := context.WithTimeout(ctx, rd.cfg.ReadTimeout)
	defer cancel()
	return rd.cfg.Trackers.Get(ctx, request)
}

// getJob handles GET /v1/jobs/{id}.
func (rd *reads) getJob(w http.ResponseWriter, r *http.Request) {
	id, jobID, ok := rd.reads(w, r)
	if !ok {
		return
	}
	wait, err := preferWait(r)
	if err != nil {
		rd.problem(w, err)
		return
	}
	if wait > 0 { // it counts as a session of its user
		if err := rd.cfg.Limits.OpenSession(id.Tenant, id.Account()); err != nil {
			rd.problem(w, err)
			return
		}
		defer rd.cfg.Limits.CloseSession(id.Tenant, id.Account())
	}
	got, err := rd.read(r.Context(), id.Scope(auth.Read).GetRequest(jobID), wait)
	if err != nil {
		rd.problem(w, problem.OfTracker(err))
		return
	}
	if wait > 0 {
		w.Header().Set(preferenceApplied, waitApplied(wait))
	}
	if got.AsOf > 0 {
		w.Header().Set(frame.AsOfHeader, unixTime(got.AsOf).Format(asOfFormat))
	}
	if seen(r.Header.Get("If-None-Match"), etag(got.Job.Version)) {
		w.Header().Set("ETag", etag(got.Job.Version))
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if wait > 0 {
		rd.pushJob(w, got.Job)
		return
	}
	writeJob(w, got.Job)
}

// pushJob is writeJob for a client that has waited for the job. It counts as the delivery of a status.
func (rd *reads) pushJob(w http.ResponseWriter, j *trackerpb.Job) {
	written := rd.cfg.Pushed(j)
	writeJob(w, j)
	if written != nil {
		written()
	}
}
