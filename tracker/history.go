package tracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fetch"
	"github.com/ackwire/ackwire/tracker/history"
	"github.com/ackwire/ackwire/tracker/shard"
)

// maxReadings is how many histories and payloads are read at a time. Each holds about a megabyte of records. Others
// wait, fairly to tenants, and as long as their callers do.
const maxReadings = 2

// topics reads what Kafka has of a job; owner implements it.
type topics interface {
	History(partition int32) history.Log
	ByWriter(rec *kgo.Record) bool
	IsRequest(topic string) bool
	Record(ctx context.Context, pos event.Position) (*kgo.Record, error)
}

// beginReading asks the shard for the job, and waits for a turn. leave must be called unless there is an error.
func (a *api) beginReading(
	ctx context.Context, jobID, tenant string, scope *trackerpb.Scope,
) (snap shard.Snapshot, from topics, leave func(), err error) {
	if err := checkJob(jobID, tenant); err != nil {
		return snap, nil, nil, err
	}
	s, err := a.owner(jobID)
	if err != nil {
		return snap, nil, nil, apiError(err)
	}
	if snap, err = s.Get(ctx, shard.Query{JobID: jobID, Scope: shard.ScopeOf(tenant, scope)}); err != nil {
		return snap, nil, nil, apiError(err)
	}
	a.mu.RLock()
	from = a.topics
	a.mu.RUnlock()
	if err := a.readings.enter(ctx, snap.Job.Tenant); err != nil {
		return snap, nil, nil, apiError(err)
	}
	return snap, from, a.readings.leave, nil
}

// readingError returns an error of Kafka with its Connect code: all are worth another try.
func readingError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return apiError(err)
	}
	return connect.NewError(connect.CodeUnavailable, err)
}

// History implements trackerpbconnect.TrackerHandler.
func (a *api) History(
	ctx context.Context, req *connect.Request[trackerpb.HistoryRequest],
) (*connect.Response[trackerpb.HistoryResponse], error) {
	m := req.Msg
	if m.Limit < 1 || m.Limit > history.MaxEvents || m.From < 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			fmt.Errorf("limit must be from 1 to %d, and from not below 0", history.MaxEvents))
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	snap, from, leave, err := a.beginReading(ctx, m.JobId, m.Tenant, m.Scope)
	if err != nil {
		return nil, err
	}
	defer leave()
	page, err := a.histories.Read(ctx, from.History(kafka.Partition(m.JobId, a.partitionCount())), history.Query{
		JobID: m.JobId, Life: snap.Life, Created: snap.Created, Updated: snap.Updated, Ended: snap.Job.Terminal,
		Version: snap.Job.Version, Folded: snap.Folded, ByWriter: from.ByWriter,
		From: m.From, FromLife: m.Life, Limit: int(m.Limit),
	})
	switch {
	case errors.Is(err, history.ErrOtherLife):
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case err != nil:
		return nil, readingError(err)
	}
	r := &trackerpb.HistoryResponse{
		Next: page.Next, Life: snap.Life, Truncated: page.Truncated, AsOf: snap.AsOf.UnixMilli(),
	}
	if page.Truncated && !page.Earliest.IsZero() {
		r.Earliest = page.Earliest.UnixMilli()
	}
	for i := range page.Events {
		r.Events = append(r.Events, historyEvent(&page.Events[i]))
	}
	return connect.NewResponse(r), nil
}

var verdicts = map[history.Verdict]trackerpb.HistoryEvent_Verdict{
	history.Unknown: trackerpb.HistoryEvent_UNKNOWN, history.Applied: trackerpb.HistoryEvent_APPLIED,
	history.Refused: trackerpb.HistoryEvent_REFUSED,
}

func historyEvent(e *history.Event) *trackerpb.HistoryEvent {
	return &trackerpb.HistoryEvent{
		Offset: e.Offset, At: e.At.UnixMilli(), Type: string(e.Type), Run: e.Run, Worker: e.Worker,
		Dispatch: int32(e.Dispatch), Round: int32(e.Round), Subject: e.Subject, Progress: e.Progress, Error: e.Error,
		Verdict: verdicts[e.Verdict], Reason: string(e.Reason), Detail: e.Detail, State: string(e.State),
		Attempt: int32(e.Attempt), Bulk: e.Bulk, TraceId: e.TraceID,
	}
}

// Payload implements trackerpbconnect.TrackerHandler.
func (a *api) Payload(
	ctx context.Context, req *connect.Request[trackerpb.PayloadRequest],
) (*connect.Response[trackerpb.PayloadResponse], error) {
	m := req.Msg
	ctx, cancel := bounded(ctx)
	defer cancel()
	snap, from, leave, err := a.beginReading(ctx, m.JobId, m.Tenant, m.Scope)
	if err != nil {
		return nil, err
	}
	defer leave()
	r := &trackerpb.PayloadResponse{Job: snap.Job}
	var rec *kgo.Record
	err = fetch.ErrRemoved
	if from.IsRequest(snap.Source.Topic) { // a claim, which a worker has written, may name any topic
		rec, err = from.Record(ctx, snap.Source)
	}
	switch {
	case errors.Is(err, fetch.ErrRemoved):
		r.Gone = true
	case err != nil:
		return nil, readingError(err)
	default:
		r.Payload, r.Blob, r.Gone = payloadOf(rec, m.JobId, snap.Life)
	}
	return connect.NewResponse(r), nil
}

// payloadOf returns the payload in a job's request record, or the key of its blob. gone reports that the record is
// not of that job.
func payloadOf(rec *kgo.Record, jobID, life string) (payload []byte, blob string, gone bool) {
	headers := make([]topic.Header, len(rec.Headers))
	for i, h := range rec.Headers {
		headers[i] = topic.Header{Key: h.Key, Value: h.Value}
	}
	request, err := topic.ParseRequest(string(rec.Key), headers)
	if err != nil || request.JobID != jobID || request.Life != "" && request.Life != life {
		return nil, "", true
	}
	if request.PayloadBlob != "" {
		return nil, request.PayloadBlob, false
	}
	return rec.Value, "", false
}

// History implements topics.
func (o *owner) History(partition int32) history.Log { return &statusLog{o, partition} }

// ByWriter implements topics.
func (o *owner) ByWriter(rec *kgo.Record) bool {
	return !o.brokerTimes && rec.Attrs.TimestampType() != 1
}

// IsRequest implements topics.
func (o *owner) IsRequest(name string) bool {
	_, isLane := o.names.Lane(name)
	return isLane || name == o.names.Deferred()
}

// statusLog reads a partition of status for histories, by the client that reads single records: the one that reads for
// the shards is not held up.
type statusLog struct {
	o         *owner
	partition int32
}

// Span implements history.Log.
func (l *statusLog) Span(ctx context.Context, offset int64, maxBytes int32) (fetch.Span, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.bounds.Ask)
	defer cancel()
	pos := event.Position{Topic: l.o.names.Status(), Partition: l.partition, Offset: offset}
	return l.o.fetcher.Span(ctx, pos, maxBytes)
}

// After implements history.Log.
func (l *statusLog) After(ctx context.Context, t time.Time) (int64, error) {
	return l.listed(ctx, func(ctx context.Context, adm *kadm.Client, name string) (kadm.ListedOffsets, error) {
		return adm.ListOffsetsAfterMilli(ctx, t.UnixMilli(), name)
	})
}

// Start implements history.Log.
func (l *statusLog) Start(ctx context.Context) (int64, error) {
	return l.listed(ctx, func(ctx context.Context, adm *kadm.Client, name string) (kadm.ListedOffsets, error) {
		return adm.ListStartOffsets(ctx, name)
	})
}

// listed returns the partition's offset in a list of those of all.
func (l *statusLog) listed(
	ctx context.Context, list func(context.Context, *kadm.Client, string) (kadm.ListedOffsets, error),
) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.bounds.Ask)
	defer cancel()
	name := l.o.names.Status()
	all, err := list(ctx, kadm.NewClient(l.o.admin), name)
	at, ok := all.Lookup(name, l.partition)
	switch {
	case ok && at.Err != nil:
		return 0, at.Err
	case ok && at.Offset >= 0:
		return at.Offset, nil
	case err != nil:
		return 0, err
	}
	return 0, fmt.Errorf("no offset of partition %d of %s", l.partition, name)
}
