package intake

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// An idempotency key gives a job its ID, so that all submits with the key are for one job. At the job's shard only one
// of them at a time may go on: it holds the reservation of the key.

// unreserveTimeout bounds how long a submit that failed waits until its key is released.
const unreserveTimeout = 250 * time.Millisecond

// keys reserves the keys of submits at the shards of their jobs.
type keys struct{ *Config }

// newJobID makes the ID of a job without an idempotency key, a UUIDv7.
func newJobID() (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("make job ID: %w", err)
	}
	return id.String(), nil
}

// reserve reserves the key at the job's shard. If the job exists already it returns that, else nil. The job may have
// another ID that was made from the key: then s gets this ID.
func (k keys) reserve(ctx context.Context, s *submission) (*trackerpb.ReserveResponse, error) {
	formers := make([]struct {
		got *trackerpb.GetResponse
		err error
	}, len(s.former))
	var asked sync.WaitGroup
	for i, former := range s.former {
		asked.Go(func() { formers[i].got, formers[i].err = k.Trackers.Get(ctx, s.scope().GetRequest(former)) })
	}
	r, err := k.reserveID(ctx, s)
	asked.Wait()
	reserved := r == nil && err == nil
	for i, former := range s.former {
		if formers[i].err != nil {
			continue
		}
		if reserved {
			k.unreserve(ctx, s)
		}
		s.jobID = former
		return &trackerpb.ReserveResponse{Job: formers[i].got.Job, PayloadHash: formers[i].got.PayloadHash}, nil
	}
	for i, former := range s.former {
		if reserved && connect.CodeOf(formers[i].err) != connect.CodeNotFound {
			k.unreserve(ctx, s)
			k.logOf(ctx).Warn("key not looked up", "job", former, "err", formers[i].err)
			return nil, problem.Unavailable("no tracker answers for this key")
		}
	}
	return r, err
}

// reserveID is reserve for the ID that s has.
func (k keys) reserveID(ctx context.Context, s *submission) (*trackerpb.ReserveResponse, error) {
	r, err := s.to.Reserve(ctx, &trackerpb.ReserveRequest{
		JobId: s.jobID, Tenant: s.id.Tenant, PayloadHash: s.request.PayloadHash, Holder: s.holder, Scope: s.scope().Proto(),
	})
	if connect.CodeOf(err) == connect.CodeNotFound {
		return nil, frame.NewProblem(code.NotFound,
			"the job of this key was erased: the key gives a new job when the retention of the erased one is over")
	}
	if err != nil {
		k.logOf(ctx).Warn("key not reserved", "job", s.jobID, "err", err)
		return nil, problem.Unavailable("no tracker answers for this key")
	}
	if r.Closed {
		return nil, errClosed
	}
	if r.Reserved {
		return nil, nil
	}
	return r, nil
}

// unreserve releases the key, so that a repetition of the submit need not wait until the reservation expires. If this
// submit has written something, the fold decides what counts.
func (k keys) unreserve(ctx context.Context, s *submission) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unreserveTimeout)
	defer cancel()
	if err := s.to.Unreserve(ctx, &trackerpb.UnreserveRequest{JobId: s.jobID, Holder: s.holder}); err != nil {
		k.logOf(ctx).Info("key is held until its reservation runs out", "job", s.jobID, "err", err)
	}
}
