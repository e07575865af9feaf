package intake

import (
	"context"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/frame"
)

// forJob returns what a submit's field grant asks for.
func forJob(o *frame.GrantOptions, jobID string) frame.GrantRequest {
	return frame.GrantRequest{GrantOptions: *o, Jobs: []string{jobID}}
}

// grantWith adds the grant that a submit asks for to its ack. Its checks were made before the job was: should it fail
// all the same, as the maker's own grant has ended meanwhile, the ack comes without it, for the job exists.
func (in *Submits) grantWith(ctx context.Context, id auth.Identity, asked *frame.GrantOptions, ack *frame.AckFrame) {
	if asked == nil {
		return
	}
	made, claims, err := in.cfg.Verifier.NewGrant(id, forJob(asked, ack.JobID))
	if err != nil {
		in.cfg.logOf(ctx).Info("no grant for a job that was submitted", "job", ack.JobID, "err", err)
		return
	}
	in.audit.note(grantDeed(ctx, id, claims))
	ack.Grant = &made
}
