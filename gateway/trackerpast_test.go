package gateway

import (
	"context"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// fakePast is what a played tracker says of what a job was.
type fakePast struct {
	events    []*trackerpb.HistoryEvent // the same for each job
	truncated bool
	payload   *trackerpb.PayloadResponse // nil: "secret payload" of each job
	asked     []*trackerpb.HistoryRequest
}

const pastLife = "life1"

// History implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) History(
	_ context.Context, r *connect.Request[trackerpb.HistoryRequest],
) (*connect.Response[trackerpb.HistoryResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m := r.Msg
	f.past.asked = append(f.past.asked, m)
	if !f.jobs[m.JobId].in(m.Tenant, m.Scope) {
		return nil, connect.NewError(connect.CodeNotFound, nil)
	}
	if m.From != 0 && m.Life != pastLife {
		return nil, connect.NewError(connect.CodeInvalidArgument, nil)
	}
	a := &trackerpb.HistoryResponse{Life: pastLife, AsOf: 1_767_323_045_678, Truncated: f.past.truncated}
	if a.Truncated {
		a.Earliest = 1_767_323_000_000
	}
	for _, e := range f.past.events {
		if e.Offset < m.From {
			continue
		}
		if len(a.Events) == int(m.Limit) {
			a.Next = e.Offset
			break
		}
		a.Events = append(a.Events, e)
	}
	return connect.NewResponse(a), nil
}

// Payload implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) Payload(
	_ context.Context, r *connect.Request[trackerpb.PayloadRequest],
) (*connect.Response[trackerpb.PayloadResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	j := f.jobs[r.Msg.JobId]
	if !j.in(r.Msg.Tenant, r.Msg.Scope) {
		return nil, connect.NewError(connect.CodeNotFound, nil)
	}
	a := &trackerpb.PayloadResponse{Payload: []byte(`"secret payload"`)}
	if p := f.past.payload; p != nil {
		a = &trackerpb.PayloadResponse{Payload: p.Payload, Blob: p.Blob, Gone: p.Gone}
	}
	a.Job = j.proto(r.Msg.JobId)
	return connect.NewResponse(a), nil
}
