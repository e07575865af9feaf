package upstream

import (
	"context"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// deadKey chooses the tracker that reads dead letters: any can, and for one key it is always the same.
const deadKey = "dead"

// ListDead lists the dead letters of the present system.
func (p *Pair) ListDead(ctx context.Context, req *trackerpb.ListDeadRequest) (*trackerpb.ListDeadResponse, error) {
	return ask(ctx, p.now, deadKey,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.ListDeadResponse], error) {
			return c.ListDead(ctx, connect.NewRequest(req))
		})
}

// GetDead returns one dead letter of the present system.
func (p *Pair) GetDead(ctx context.Context, req *trackerpb.GetDeadRequest) (*trackerpb.GetDeadResponse, error) {
	return ask(ctx, p.now, deadKey,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.GetDeadResponse], error) {
			return c.GetDead(ctx, connect.NewRequest(req))
		})
}

// RequeueDead tries a dead letter again, at the tracker that owns the partition of its job. To try it twice does no
// harm to a job; another record may be written twice then.
func (p *Pair) RequeueDead(
	ctx context.Context, req *trackerpb.RequeueDeadRequest,
) (*trackerpb.RequeueDeadResponse, error) {
	key := req.JobId
	if key == "" {
		key = deadKey
	}
	return ask(ctx, p.now, key,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.RequeueDeadResponse], error) {
			return c.RequeueDead(ctx, connect.NewRequest(req))
		})
}
