package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// An idempotency key gives a job its ID, so that all submits with the key are for one job. At the job's shard only one
// of them at a time may go on: it holds the reservation of the key.

// keySpace is the namespace of IDs that are made from keys.
var keySpace = uuid.MustParse("5b1d7a0e-6a53-4c53-9f0b-6f6bb9f4a4f1")

// newJobID makes a job's ID: a UUIDv7 or, with an idempotency key, a UUIDv8 (RFC 9562) from tenant, subject, type and
// key, so that the same key of the same user gives the same ID. If it did not depend on the subject, a key would tell
// its user whether others have used it.
func newJobID(tenant, subject, jobType, key string) (string, error) {
	switch {
	case key == "":
		id, err := uuid.NewV7()
		if err != nil {
			return "", fmt.Errorf("make job ID: %w", err)
		}
		return id.String(), nil
	case subject == "": // of a client without a token
		return formerJobID(tenant, jobType, key), nil
	}
	return keyedID(tenant, jobType, key, subject), nil
}

// formerJobID returns the ID that earlier versions made from a key, without the subject. A submit with a key also looks
// for a job with this ID, so that jobs of before stay reachable by their keys.
func formerJobID(tenant, jobType, key string) string { return keyedID(tenant, jobType, key) }

func keyedID(parts ...string) string {
	var joined []byte
	for _, part := range parts {
		joined = binary.AppendUvarint(joined, uint64(len(part)))
		joined = append(joined, part...)
	}
	return uuid.NewHash(sha256.New(), keySpace, joined, 8).String()
}

// writeReserved is write for a submit with a key. It reserves the key, and releases it if the submit fails.
func (g *Gateway) writeReserved(ctx context.Context, s *submission) (frame.AckFrame, int64, error) {
	existing, err := g.reserve(ctx, s)
	if existing != nil {
		return s.existing(existing.Job, existing.PayloadHash)
	}
	if err != nil {
		return frame.AckFrame{}, 0, err
	}
	ack, version, err := g.produce(ctx, s)
	if err != nil {
		g.unreserve(ctx, s)
	}
	return ack, version, err
}

// reserve reserves the key at the job's shard. If the job exists already it returns that, else nil. The job may have
// the ID that an earlier release made from the key: then s gets this ID.
func (g *Gateway) reserve(ctx context.Context, s *submission) (*trackerpb.ReserveResponse, error) {
	former := formerJobID(s.id.Tenant, s.request.Job, s.key)
	if former == s.jobID {
		return g.reserveID(ctx, s)
	}
	var got *trackerpb.GetResponse
	var formerErr error
	var asked sync.WaitGroup
	asked.Go(func() { got, formerErr = g.up.Get(ctx, getRequest(former, s.scope())) })
	r, err := g.reserveID(ctx, s)
	asked.Wait()
	if formerErr == nil {
		if r == nil && err == nil {
			g.unreserve(ctx, s)
		}
		s.jobID = former
		return &trackerpb.ReserveResponse{Job: got.Job, PayloadHash: got.PayloadHash}, nil
	}
	if err == nil && r == nil && connect.CodeOf(formerErr) != connect.CodeNotFound {
		g.unreserve(ctx, s)
		g.logOf(ctx).Warn("key not looked up", "job", former, "err", formerErr)
		err = unavailable("no tracker answers for this key")
	}
	return r, err
}

// reserveID is reserve for the ID that s has.
func (g *Gateway) reserveID(ctx context.Context, s *submission) (*trackerpb.ReserveResponse, error) {
	r, err := s.to.Reserve(ctx, &trackerpb.ReserveRequest{
		JobId: s.jobID, Tenant: s.id.Tenant, PayloadHash: s.request.PayloadHash, Holder: s.holder, Scope: s.scope().Proto(),
	})
	if connect.CodeOf(err) == connect.CodeNotFound {
		return nil, frame.NewProblem(code.NotFound,
			"the job of this key was erased: the key gives a new job when the retention of the erased one is over")
	}
	if err != nil {
		g.logOf(ctx).Warn("key not reserved", "job", s.jobID, "err", err)
		return nil, unavailable("no tracker answers for this key")
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
func (g *Gateway) unreserve(ctx context.Context, s *submission) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), unreserveTimeout)
	defer cancel()
	if err := s.to.Unreserve(ctx, &trackerpb.UnreserveRequest{JobId: s.jobID, Holder: s.holder}); err != nil {
		g.logOf(ctx).Info("key is held until its reservation runs out", "job", s.jobID, "err", err)
	}
}
