package intake

import (
	"context"
	"errors"
	"fmt"

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

// Erase removes an ended job that the identity may read: its document and its blobs. When it returns without an error
// the tracker has folded the order, the blobs are gone, and the job is answered like one that never was. Of a job that
// was erased already it returns not_found.
func (in *Orders) Erase(ctx context.Context, id auth.Identity, jobID string) error {
	jobID, ok := job.ParseID(jobID)
	if !ok {
		return frame.NewProblem(code.NotFound, "")
	}
	if err := in.mayOrder(id); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	get := id.Scope(auth.Erase).GetRequest(jobID)
	now, at, err := in.cfg.Trackers.Find(ctx, get)
	if err != nil {
		return problem.OfTracker(err)
	}
	doc, err := upstream.Document(now.Job)
	if err != nil {
		return err
	}
	err = in.eraseFound(ctx, at, get, now, doc.State, "")
	deed := orderDeed(ctx, id, event.Erased, now.Job, doc.Type, err)
	if err != nil {
		in.audit.note(deed)
		return err
	}
	if err := in.audit.noteFirst(ctx, deed); err != nil {
		in.cfg.Log.Warn("audit record of an erasure is not known to be written", "job", jobID, "err", err)
		return problem.Indeterminate(jobID)
	}
	if err := in.removeBlobs(ctx, jobID, now.Life); err != nil {
		in.cfg.Log.Warn("blobs of an erased job not removed, the tracker will try", "job", jobID, "err", err)
		return problem.Unavailable("the job is erased; its payload and result are removed once the blob store answers")
	}
	return nil
}

// eraseFound erases a job that the system at has in the given state, and waits until the fold has removed it. bulk is
// the bulk action whose order it is, or empty.
func (in *Orders) eraseFound(
	ctx context.Context, at *upstream.Upstream, get *trackerpb.GetRequest, now *trackerpb.GetResponse, state job.State,
	bulk string,
) error {
	if !state.Terminal() {
		return frame.NewProblem(code.InvalidState, fmt.Sprintf("the job is %s: it has not ended", state))
	}
	if err := in.cfg.Health.err(); err != nil {
		return problem.Unavailable(err.Error())
	}
	version, err := in.appendOrder(ctx, at.Names(), &event.Event{
		Type: event.Erased, JobID: get.JobId, Life: now.Life, Round: int(now.Round), Bulk: bulk,
	})
	if err != nil {
		return err
	}
	get.MinVersion = version
	switch _, err := at.Get(ctx, get); {
	case err == nil:
		return frame.NewProblem(code.InvalidState, "the job was retried before it could be erased")
	case connect.CodeOf(err) != connect.CodeNotFound:
		in.cfg.Log.Warn("order's outcome is not known", "job", get.JobId, "order", event.Erased, "err", err)
		return problem.Indeterminate(get.JobId)
	}
	return nil
}

// removeBlobs removes the blobs of a job that was erased. The tracker removes them too, some seconds later, and again
// when the retention ends.
func (in *Orders) removeBlobs(ctx context.Context, jobID, life string) error {
	if in.cfg.Blobs == nil {
		return nil
	}
	var failed []error
	remove := func(of func(context.Context, string) (int, error), prefix string) {
		_, err := of(ctx, prefix)
		failed = append(failed, err)
	}
	if life != "" {
		remove(in.cfg.Blobs.RemoveAll, event.ResultFolder(jobID, life))
		remove(in.cfg.Blobs.RemoveAll, event.PayloadFolder(jobID, life))
	}
	// These were stored by programs that know no lives.
	remove(in.cfg.Blobs.RemoveIn, event.ResultPrefix(jobID))
	if !event.NamedByGateway(life) {
		remove(in.cfg.Blobs.RemoveIn, event.PayloadPrefix(jobID))
	}
	return errors.Join(failed...)
}
