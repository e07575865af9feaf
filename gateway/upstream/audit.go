package upstream

import (
	"context"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// auditKey chooses the tracker that reads the audit trail: any can.
const auditKey = "audit"

// ListAudit lists the records of the audit trail of the present system.
func (p *Pair) ListAudit(ctx context.Context, req *trackerpb.ListAuditRequest) (*trackerpb.ListAuditResponse, error) {
	return ask(ctx, p.now, auditKey,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.ListAuditResponse], error) {
			return c.ListAudit(ctx, connect.NewRequest(req))
		})
}
