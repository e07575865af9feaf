package tracker

import (
	"context"
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/keeper"
	"github.com/ackwire/ackwire/tracker/shard"
)

// maxResolving is how many streams of a connection that were added are looked up at a time.
const maxResolving = 64

// writer returns who keeps a job's streams and which run of it counts. A job outside the scope is not found, as for
// Get.
func (a *api) writer(
	ctx context.Context, jobID, tenant string, scope *trackerpb.Scope,
) (*keeper.Keeper, keeper.Facts, error) {
	s, err := a.owner(jobID)
	if err != nil {
		return nil, keeper.Facts{}, err
	}
	a.mu.RLock()
	k := a.keepers[kafka.Partition(jobID, a.partitions)]
	a.mu.RUnlock()
	if k == nil {
		return nil, keeper.Facts{}, shard.ErrNotReady
	}
	w, err := s.Writer(ctx, jobID, shard.ScopeOf(tenant, scope))
	return k, keeper.Facts(w), err
}

// checkStream checks what names a stream and a position in it.
func checkStream(jobID, tenant, stream string, after *trackerpb.StreamCursor) error {
	if err := checkJob(jobID, tenant); err != nil {
		return err
	}
	if !job.ValidStream(stream) || after.GetDispatch() < 0 {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("stream is not the name of one, or after is not a "+
			"position: its dispatch is below 0"))
	}
	return nil
}

// Streams implements trackerpbconnect.TrackerHandler.
func (a *api) Streams(
	ctx context.Context, req *connect.Request[trackerpb.StreamsRequest],
) (*connect.Response[trackerpb.StreamsResponse], error) {
	m := req.Msg
	if err := checkJob(m.JobId, m.Tenant); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	k, facts, err := a.writer(ctx, m.JobId, m.Tenant, m.Scope)
	if err != nil {
		return nil, apiError(err)
	}
	all, dispatch, err := k.Streams(m.JobId, facts)
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.StreamsResponse{Streams: all, Dispatch: dispatch}), nil
}

// ReadStream implements trackerpbconnect.TrackerHandler.
func (a *api) ReadStream(
	ctx context.Context, req *connect.Request[trackerpb.ReadStreamRequest],
) (*connect.Response[trackerpb.ReadStreamResponse], error) {
	m := req.Msg
	if err := checkStream(m.JobId, m.Tenant, m.Stream, m.After); err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	k, facts, err := a.writer(ctx, m.JobId, m.Tenant, m.Scope)
	if err != nil {
		return nil, apiError(err)
	}
	q := keeper.Query{JobID: m.JobId, Facts: facts, Stream: m.Stream, After: m.After, Max: int(m.MaxBytes)}
	if q.Max <= 0 {
		q.Max = keeper.MaxAnswer
	}
	// A long poll is answered a moment before its deadline, so that the caller gets an answer and not an error.
	deadline, _ := ctx.Deadline()
	poll, stop := context.WithDeadline(ctx, deadline.Add(-min(answerMargin, time.Until(deadline)/2)))
	defer stop()
	part, err := k.Read(poll, q, m.Wait)
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.ReadStreamResponse{Part: part}), nil
}

// FollowStreams implements trackerpbconnect.TrackerHandler. This goroutine sends; a second one, which ends with the
// stream's context, receives.
func (a *api) FollowStreams(
	ctx context.Context, bidi *connect.BidiStream[trackerpb.FollowStreamsRequest, trackerpb.FollowStreamsResponse],
) error {
	// The headers go out at once, by which the gateway sees that it is accepted.
	if err := bidi.Send(nil); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	follows := a.streams.NewFollows()
	go func() {
		defer follows.Close()
		defer cancel()
		a.receiveFollows(ctx, bidi, follows)
	}()
	var err error
	for err == nil {
		var response *trackerpb.FollowStreamsResponse
		if response, err = follows.Next(ctx); err == nil {
			err = bidi.Send(response)
		}
	}
	follows.Close()
	if ctx.Err() != nil || errors.Is(err, keeper.ErrClosed) {
		return nil
	}
	return err
}

// receiveFollows hands what the gateway adds and removes to the keepers until the connection ends, or breaks a bound.
func (a *api) receiveFollows(
	ctx context.Context, bidi *connect.BidiStream[trackerpb.FollowStreamsRequest, trackerpb.FollowStreamsResponse],
	follows *keeper.Follows,
) {
	var resolving sync.WaitGroup
	defer resolving.Wait()
	turns := make(chan struct{}, maxResolving)
	for ctx.Err() == nil {
		m, err := bidi.Receive()
		if err != nil {
			return
		}
		for _, handle := range m.Remove {
			follows.Remove(handle)
		}
		for _, add := range m.Add {
			if add.Handle == 0 || !follows.Place(add.Handle) {
				return
			}
			select {
			case turns <- struct{}{}:
			case <-ctx.Done():
				return
			}
			resolving.Go(func() {
				defer func() { <-turns }()
				a.follow(ctx, follows, add)
			})
		}
	}
}

// follow begins to follow a stream, or says why not.
func (a *api) follow(ctx context.Context, follows *keeper.Follows, add *trackerpb.StreamFollow) {
	ctx, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	if checkStream(add.JobId, add.Tenant, add.Stream, add.After) != nil {
		follows.Refuse(add.Handle, trackerpb.FollowedPart_NOT_FOUND)
		return
	}
	k, facts, err := a.writer(ctx, add.JobId, add.Tenant, add.Scope)
	switch {
	case err == nil:
		follows.Begin(add.Handle, k, keeper.Query{JobID: add.JobId, Facts: facts, Stream: add.Stream, After: add.After})
	case errors.Is(err, shard.ErrNotFound):
		follows.Refuse(add.Handle, trackerpb.FollowedPart_NOT_FOUND)
	case errors.Is(err, shard.ErrNotOwner):
		follows.Refuse(add.Handle, trackerpb.FollowedPart_NOT_OWNER)
	default:
		follows.Refuse(add.Handle, trackerpb.FollowedPart_NOT_READY)
	}
}
