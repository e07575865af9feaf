package tracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/dead"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/shard"
)

// auditTrail reads the topic audit for the API. It has places of its own beside those of dead letters.
type auditTrail struct {
	reader *dead.Reader
	reads  chan struct{} // has a place for each read
}

func newAuditTrail(names topic.Names, cl *kgo.Client) *auditTrail {
	return &auditTrail{dead.NewReader(names.Audit(), cl, fetch.New(cl)), make(chan struct{}, maxDeadReads)}
}

// ListAudit implements trackerpbconnect.TrackerHandler.
func (a *api) ListAudit(
	ctx context.Context, req *connect.Request[trackerpb.ListAuditRequest],
) (*connect.Response[trackerpb.ListAuditResponse], error) {
	m := req.Msg
	if m.Limit < 1 || m.Limit > dead.MaxPage || m.Before < 0 || m.Since < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("limit must be from 1 to %d, and before and since not negative", dead.MaxPage))
	}
	a.mu.RLock()
	trail := a.audit
	a.mu.RUnlock()
	if trail == nil {
		return nil, connect.NewError(connect.CodeUnavailable, shard.ErrNotReady)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	select {
	case trail.reads <- struct{}{}:
		defer func() { <-trail.reads }()
	case <-ctx.Done():
		return nil, apiError(ctx.Err())
	}
	var since time.Time
	if m.Since > 0 {
		since = time.UnixMilli(m.Since)
	}
	records, next, err := trail.reader.Page(ctx, since, m.Before, int(m.Limit))
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return connect.NewResponse(&trackerpb.ListAuditResponse{Off: true}), nil
	}
	if err != nil {
		return nil, deadError(err)
	}
	response := &trackerpb.ListAuditResponse{Next: next}
	for _, rec := range records {
		response.Records = append(response.Records, &trackerpb.AuditRecord{Offset: rec.Offset,
			At: rec.Timestamp.UnixMilli(), Value: rec.Value})
	}
	return connect.NewResponse(response), nil
}
