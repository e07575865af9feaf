package tracker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/dead"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/shard"
)

// maxDeadReads is how many questions for dead letters are answered at a time: each may hold a page of records.
const maxDeadReads = 2

// deadLetters reads and requeues dead letters for the API.
type deadLetters struct {
	names  topic.Names
	reader *dead.Reader
	client *kgo.Client
	reads  chan struct{} // has a place for each read
}

func newDeadLetters(names topic.Names, cl *kgo.Client) *deadLetters {
	return &deadLetters{names: names, reader: dead.NewReader(names.Dead(), cl, fetch.New(cl)), client: cl,
		reads: make(chan struct{}, maxDeadReads)}
}

// read runs f in its turn.
func (d *deadLetters) read(ctx context.Context, f func() error) error {
	select {
	case d.reads <- struct{}{}:
		defer func() { <-d.reads }()
		return f()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// letter reads one letter in its turn.
func (d *deadLetters) letter(ctx context.Context, offset int64) (l dead.Letter, err error) {
	err = d.read(ctx, func() (err error) {
		l, err = d.reader.Letter(ctx, offset)
		return err
	})
	return l, err
}

// proto returns a letter for the API, without the record itself.
func (d *deadLetters) proto(l *dead.Letter) *trackerpb.DeadLetter {
	_, isRequest := l.Request(d.names)
	return &trackerpb.DeadLetter{Offset: l.Offset, At: l.At.UnixMilli(), Reason: valid(l.Reason), Detail: valid(l.Detail),
		By: valid(l.By), Topic: valid(l.Topic), Partition: valid(l.SourcePartition), SourceOffset: valid(l.SourceOffset),
		JobId: l.JobID(), Bytes: int64(len(l.Value)), Request: isRequest}
}

// valid returns a text of a letter as valid UTF-8, which protobuf demands.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// deadError returns an error of dead letters with its Connect code.
func deadError(err error) error {
	switch {
	case errors.Is(err, dead.ErrNotFound):
		return connect.NewError(connect.CodeNotFound, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return connect.NewError(connect.CodePermissionDenied, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, shard.ErrNotFound),
		errors.Is(err, shard.ErrNotOwner), errors.Is(err, shard.ErrNotReady), errors.Is(err, shard.ErrOverloaded),
		errors.Is(err, shard.ErrLogAway):
		return apiError(err)
	}
	return connect.NewError(connect.CodeUnavailable, err) // of Kafka
}

// deads returns what reads dead letters, once the tracker is connected.
func (a *api) deads() (*deadLetters, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.dead == nil {
		return nil, connect.NewError(connect.CodeUnavailable, shard.ErrNotReady)
	}
	return a.dead, nil
}

// ListDead implements trackerpbconnect.TrackerHandler.
func (a *api) ListDead(
	ctx context.Context, req *connect.Request[trackerpb.ListDeadRequest],
) (*connect.Response[trackerpb.ListDeadResponse], error) {
	m := req.Msg
	if m.Limit < 1 || m.Limit > dead.MaxPage || m.Before < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("limit must be from 1 to %d, and before not negative", dead.MaxPage))
	}
	d, err := a.deads()
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	response := &trackerpb.ListDeadResponse{}
	err = d.read(ctx, func() error {
		letters, next, err := d.reader.List(ctx, m.Before, int(m.Limit))
		for i := range letters {
			response.Letters = append(response.Letters, d.proto(&letters[i]))
		}
		response.Next = next
		return err
	})
	if err != nil {
		return nil, deadError(err)
	}
	return connect.NewResponse(response), nil
}

// GetDead implements trackerpbconnect.TrackerHandler.
func (a *api) GetDead(
	ctx context.Context, req *connect.Request[trackerpb.GetDeadRequest],
) (*connect.Response[trackerpb.GetDeadResponse], error) {
	d, err := a.deads()
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	l, err := d.letter(ctx, req.Msg.Offset)
	if err != nil {
		return nil, deadError(err)
	}
	whole := d.proto(&l)
	whole.Key, whole.Value = l.Key, l.Value
	for _, h := range l.Headers {
		whole.Headers = append(whole.Headers, &trackerpb.DeadHeader{Key: valid(h.Key), Value: h.Value})
	}
	return connect.NewResponse(&trackerpb.GetDeadResponse{Letter: whole}), nil
}

// RequeueDead implements trackerpbconnect.TrackerHandler.
func (a *api) RequeueDead(
	ctx context.Context, req *connect.Request[trackerpb.RequeueDeadRequest],
) (*connect.Response[trackerpb.RequeueDeadResponse], error) {
	d, err := a.deads()
	if err != nil {
		return nil, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	l, err := d.letter(ctx, req.Msg.Offset)
	if err != nil {
		return nil, deadError(err)
	}
	if r, ok := l.Request(d.names); ok {
		if r.JobID != req.Msg.JobId {
			return nil, connect.NewError(connect.CodeInvalidArgument, errors.New("job_id is not the dead letter's"))
		}
		s, err := a.owner(r.JobID)
		if err != nil {
			return nil, apiError(err)
		}
		response, err := d.revive(ctx, s, r)
		if err != nil {
			return nil, deadError(err)
		}
		if response != nil {
			return connect.NewResponse(response), nil
		}
	}
	response, err := d.writeBack(ctx, &l)
	if err != nil {
		return nil, deadError(err)
	}
	return connect.NewResponse(response), nil
}

// revive has the job of a dead request dispatched again, if it waits for just that request. It returns nil if the job
// is not known: then the record has to be written again, and a worker's claim of it may make the job.
//
// It writes an event to the log, as the command "dead requeue" does (Revive), and asks the shard afterwards what that
// did: a job that took the event does not wait for the dead request any more.
func (d *deadLetters) revive(
	ctx context.Context, s *shard.Shard, r dead.Request,
) (*trackerpb.RequeueDeadResponse, error) {
	q := shard.Query{JobID: r.JobID, Scope: shard.Scope{AnyTenant: true}}
	now, err := s.Get(ctx, q)
	if errors.Is(err, shard.ErrNotFound) {
		if r.Policy != nil && fold.Outlived(time.Since(r.At), r.Policy) {
			return &trackerpb.RequeueDeadResponse{Outcome: trackerpb.RequeueDeadResponse_OUTLIVED}, nil
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !waitsFor(&now, r.Position) {
		return notRevived(&now), nil
	}
	lost, err := lostEvent(d.names, r)
	if err != nil {
		return nil, err
	}
	if err := kafka.ProduceSync(ctx, d.client, lost); err != nil {
		return nil, err
	}
	q.MinVersion = lost.Offset + 1
	after, err := s.Get(ctx, q)
	switch {
	case errors.Is(err, shard.ErrNotFound): // it was erased meanwhile
		return &trackerpb.RequeueDeadResponse{Outcome: trackerpb.RequeueDeadResponse_OUTLIVED}, nil
	case err != nil:
		return nil, err
	case after.Request != nil && *after.Request == r.Position:
		return notRevived(&after), nil // something else has happened to it just before
	}
	return &trackerpb.RequeueDeadResponse{Outcome: trackerpb.RequeueDeadResponse_DISPATCHED,
		State: string(after.State)}, nil
}

// waitsFor reports whether a job waits until a worker takes a request.
func waitsFor(now *shard.Snapshot, request event.Position) bool {
	return (now.State == job.Pending || now.State == job.Queued) && now.Request != nil && *now.Request == request
}

// notRevived says why a job is not dispatched again.
func notRevived(now *shard.Snapshot) *trackerpb.RequeueDeadResponse {
	r := &trackerpb.RequeueDeadResponse{Outcome: trackerpb.RequeueDeadResponse_NOT_WAITING, State: string(now.State)}
	if now.State.Terminal() {
		r.Outcome = trackerpb.RequeueDeadResponse_ENDED
	}
	return r
}

// writeBack writes the letter's record to the end of the topic that it came from.
func (d *deadLetters) writeBack(ctx context.Context, l *dead.Letter) (*trackerpb.RequeueDeadResponse, error) {
	_, isLane := d.names.Lane(l.Topic)
	if !isLane && l.Topic != d.names.Status() && l.Topic != d.names.Deferred() {
		return &trackerpb.RequeueDeadResponse{Outcome: trackerpb.RequeueDeadResponse_FOREIGN}, nil
	}
	again := l.Again()
	if err := kafka.ProduceSync(ctx, d.client, again); err != nil {
		return nil, err
	}
	return &trackerpb.RequeueDeadResponse{Outcome: trackerpb.RequeueDeadResponse_WRITTEN,
		Written: &trackerpb.Position{Topic: again.Topic, Partition: again.Partition, Offset: again.Offset}}, nil
}
