package upstream

import (
	"context"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// History returns a page of a job's events.
func (u *Upstream) History(ctx context.Context, req *trackerpb.HistoryRequest) (*trackerpb.HistoryResponse, error) {
	return ask(ctx, u, req.JobId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.HistoryResponse], error) {
			return c.History(ctx, connect.NewRequest(req))
		})
}

// Payload returns what was submitted, or where it is.
func (u *Upstream) Payload(ctx context.Context, req *trackerpb.PayloadRequest) (*trackerpb.PayloadResponse, error) {
	return ask(ctx, u, req.JobId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.PayloadResponse], error) {
			return c.Payload(ctx, connect.NewRequest(req))
		})
}

// History is Upstream.History at the system that has the job.
func (p *Pair) History(ctx context.Context, req *trackerpb.HistoryRequest) (*trackerpb.HistoryResponse, error) {
	at, err := p.locate(ctx, req.JobId, req.Tenant, req.Scope)
	if err != nil {
		return nil, err
	}
	return at.History(ctx, req)
}

// Payload is Upstream.Payload at the system that has the job.
func (p *Pair) Payload(ctx context.Context, req *trackerpb.PayloadRequest) (*trackerpb.PayloadResponse, error) {
	at, err := p.locate(ctx, req.JobId, req.Tenant, req.Scope)
	if err != nil {
		return nil, err
	}
	return at.Payload(ctx, req)
}
