package intake

import (
	"context"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/bulk"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/problem"
)

// HoldBatch admits a batch of that many bytes before it is read. The caller must call end once it is answered.
func (in *Submits) HoldBatch(id auth.Identity, bytes int64) (end func(), err error) {
	if err := in.cfg.Health.err(); err != nil {
		return nil, problem.Unavailable(err.Error())
	}
	held, err := in.cfg.Limits.BeginBatch(id.Tenant, bytes)
	if err != nil {
		return nil, err
	}
	return held.End, nil
}

// SubmitBatch submits the items of a batch that HoldBatch has admitted, at most bulk.AtOnce at a time. Each is checked,
// limited and counted as by Submit, and has one of its three outcomes. When ctx ends, or after the time that one submit
// may take, no further item begins; those that have begun go on. made, if not nil, is called as that of Submit, from
// several goroutines.
func (in *Submits) SubmitBatch(
	ctx context.Context, id auth.Identity, items []bulk.Item, made func(i int, jobID string),
) []bulk.Result {
	ctx, cancel := context.WithTimeout(ctx, in.cfg.SubmitTimeout)
	defer cancel()
	return bulk.Run(ctx, items, bulk.AtOnce, func(ctx context.Context, i int) (r bulk.Result) {
		item := &items[i]
		var tell func(string)
		if made != nil {
			tell = func(jobID string) { made(i, jobID) }
		}
		r.Ack, r.Version, r.Err = in.admitted(ctx, id, item.Request, tell, func(ctx context.Context) (limits.Submit, error) {
			return in.cfg.holdItem(ctx, id, item.Bytes)
		})
		return r
	})
}
