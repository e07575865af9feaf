package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// deleteJob handles DELETE /v1/jobs/{id}.
func (g *Gateway) deleteJob(w http.ResponseWriter, r *http.Request) {
	id, ok := g.identify(w, r, auth.Read|auth.Erase)
	if !ok {
		return
	}
	if err := g.Erase(traceable(w, r), id, r.PathValue("id")); err != nil {
		g.problem(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// Erase removes an ended job that the identity may read: its document and its blobs. When it returns without an error
// the tracker has folded the order, the blobs are gone, and the job is answered like one that never was. Of a job that
// was erased already it returns not_found.
func (g *Gateway) Erase(ctx context.Context, id auth.Identity, jobID string) error {
	jobID, ok := job.ParseID(jobID)
	if !ok {
		return frame.NewProblem(code.NotFound, "")
	}
	if err := g.mayOrder(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.SubmitTimeout)
	defer cancel()
	get := id.Scope(auth.Erase).GetRequest(jobID)
	now, at, err := g.up.Find(ctx, get)
	if err != nil {
		return problem.OfTracker(err)
	}
	doc, err := upstream.Document(now.Job)
	if err != nil {
		return err
	}
	err = g.eraseFound(ctx, at, get, now, doc.State)
	deed := orderDeed(ctx, id, event.Erased, now.Job, doc.Type, err)
	if err != nil {
		g.note(deed)
		return err
	}
	if err := g.noteFirst(ctx, deed); err != nil {
		g.log.Warn("audit record of an erasure is not known to be written", "job", jobID, "err", err)
		return problem.Indeterminate(jobID)
	}
	if err := g.removeBlobs(ctx, jobID, now.Life); err != nil {
		g.log.Warn("blobs of an erased job not removed, the tracker will try", "job", jobID, "err", err)
		return problem.Unavailable("the job is erased; its payload and result are removed once the blob store answers")
	}
	return nil
}

// eraseFound erases a job that the system at has in the given state, and waits until the fold has removed it.
func (g *Gateway) eraseFound(
	ctx context.Context, at *upstream.Upstream, get *trackerpb.GetRequest, now *trackerpb.GetResponse, state job.State,
) error {
	if !state.Terminal() {
		return frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s: it has not ended", state))
	}
	if err := g.kafkaUp.err(); err != nil {
		return problem.Unavailable(err.Error())
	}
	version, err := g.appendOrder(ctx, at.Names(), &event.Event{
		Type: event.Erased, JobID: get.JobId, Life: now.Life, Round: int(now.Round),
	})
	if err != nil {
		return err
	}
	get.MinVersion = version
	switch _, err := at.Get(ctx, get); {
	case err == nil:
		return frame.NewProblem(code.InvalidState, "the job was retried before it could be erased")
	case connect.CodeOf(err) != connect.CodeNotFound:
		g.log.Warn("order's outcome is not known", "job", get.JobId, "order", event.Erased, "err", err)
		return problem.Indeterminate(get.JobId)
	}
	return nil
}

// removeBlobs removes the blobs of a job that was erased. The tracker removes them too, some seconds later, and again
// when the retention ends.
func (g *Gateway) removeBlobs(ctx context.Context, jobID, life string) error {
	if g.blobs == nil {
		return nil
	}
	var failed []error
	remove := func(of func(context.Context, string) (int, error), prefix string) {
		_, err := of(ctx, prefix)
		failed = append(failed, err)
	}
	if life != "" {
		remove(g.blobs.RemoveAll, event.ResultFolder(jobID, life))
		remove(g.blobs.RemoveAll, event.PayloadFolder(jobID, life))
	}
	// These were stored by programs that know no lives.
	remove(g.blobs.RemoveIn, event.ResultPrefix(jobID))
	if !event.NamedByGateway(life) {
		remove(g.blobs.RemoveIn, event.PayloadPrefix(jobID))
	}
	return errors.Join(failed...)
}
