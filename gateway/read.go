package gateway

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

// reads returns the client's identity and the ID of the job in the path. If ok is false it has answered the request.
func (g *Gateway) reads(w http.ResponseWriter, r *http.Request) (id auth.Identity, jobID string, ok bool) {
	if id, ok = g.identify(w, r, auth.Read); !ok {
		return id, "", false
	}
	if jobID, ok = job.ParseID(r.PathValue("id")); !ok {
		g.problem(w, frame.NewProblem(code.NotFound, ""))
		return id, "", false
	}
	if err := g.limits.Ask(id.Tenant, id.Account(), 1); err != nil {
		g.problem(w, err)
		return id, "", false
	}
	return id, jobID, true
}

// readNow returns the current state of the job in the path, and the client's identity. If ok is false it has answered
// the request. strict refuses requests with a query.
func (g *Gateway) readNow(
	w http.ResponseWriter, r *http.Request, strict bool,
) (got *trackerpb.GetResponse, id auth.Identity, ok bool) {
	id, jobID, ok := g.reads(w, r)
	if !ok {
		return nil, id, false
	}
	if strict {
		if _, err := readQuery(r); err != nil {
			g.problem(w, err)
			return nil, id, false
		}
	}
	got, err := g.read(r.Context(), id.Scope(auth.Read).GetRequest(jobID), 0)
	if err != nil {
		g.problem(w, problem.OfTracker(err))
		return nil, id, false
	}
	return got, id, true
}

// read gets a job from its tracker, when it has ended or after wait. A drain ends the wait early: the client then gets
// the current state.
func (g *Gateway) read(
	ctx context.Context, request *trackerpb.GetRequest, wait time.Duration,
) (*trackerpb.GetResponse, error) {
	if wait > 0 {
		request.UntilTerminal = true
		waiting, cancel := g.untilDrain(ctx, wait)
		got, err := g.up.Get(waiting, request)
		cancel()
		if err == nil || ctx.Err() != nil || connect.CodeOf(err) == connect.CodeNotFound {
			return got, err
		}
		request.UntilTerminal = false
	}
	ctx, cancel := context.WithTimeout(ctx, g.readTimeout())
	defer cancel()
	return g.up.Get(ctx, request)
}
