package tracker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/history"
	"github.com/ackwire/ackwire/tracker/keeper"
	"github.com/ackwire/ackwire/tracker/shard"
	"github.com/ackwire/ackwire/tracker/store"
	"github.com/ackwire/ackwire/tracker/watch"
	"github.com/ackwire/ackwire/tracker/workers"
)

// Bounds of one request.
const (
	maxIDChars       = 64
	maxIdentityBytes = 4 << 10
	maxBacklog       = 10_000                // unsent answers to adds of a stream; beyond, no more adds are read
	answerMargin     = 50 * time.Millisecond // a long poll is answered this long before its deadline
	defaultTimeout   = 10 * time.Second      // of a request without a deadline
)

// api serves the tracker's API from the shards that this instance owns.
type api struct {
	reading sync.RWMutex // is held for reading while a list or a count reads the store, and to close it; taken before mu

	mu         sync.RWMutex // guards all below
	partitions int32
	store      *store.Store
	shards     map[int32]*shard.Shard // nil while the partition is being restored
	keepers    map[int32]*keeper.Keeper
	dead       *deadLetters // nil before open
	assigned   bool         // the group has assigned partitions at least once, even if none

	self     service.Instance // set by newAPI, then only read
	gateways gateways
	subjects watch.Subjects
	watched  watch.Lists    // the lists that gateways watch
	queues   watch.Queues   // the streams that get reports of the lanes' queues
	lists    *turns         // bounds the lists and counts that are made at a time
	streams  *keeper.Shared // what all keepers share
	workers  *workers.Metrics
	audit    *auditTrail // nil before open; guarded by mu
	// waits are since when the oldest requests of lanes have waited for a worker: the zero time where none does; nil
	// while that is not known.
	waits atomic.Pointer[map[string]time.Time]

	topics    topics // guarded by mu; nil until there is a client for Kafka
	readings  *turns // bounds the histories and payloads that are read at a time
	histories *history.Reader
}

func newAPI(streams *keeper.Shared, known *workers.Metrics, read *history.Metrics) *api {
	return &api{
		shards: map[int32]*shard.Shard{}, keepers: map[int32]*keeper.Keeper{}, lists: newTurns(maxLists), streams: streams,
		workers: known, self: service.NewInstance(),
		readings: newTurns(maxReadings), histories: history.NewReader(read),
		watched: watch.Lists{Full: watch.FullOfLists},
	}
}

// open sets the number of partitions of status, the store that holds their jobs, what reads their log, and what reads
// dead letters.
func (a *api) open(partitions int32, st *store.Store, t topics, dead *deadLetters) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.partitions, a.store, a.topics = partitions, st, t
	a.dead = dead
	if dead != nil {
		a.audit = newAuditTrail(dead.names, dead.client)
	}
}

// close takes the store away before it is closed, and waits until nobody reads it.
func (a *api) close() {
	a.reading.Lock()
	defer a.reading.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.store, a.dead, a.assigned = nil, nil, false
	a.audit = nil
	a.waits.Store(nil)
}

// read runs f, which reads st, unless that was closed meanwhile.
func (a *api) read(st *store.Store, f func() error) error {
	a.reading.RLock()
	defer a.reading.RUnlock()
	a.mu.RLock()
	isOpen := a.store == st
	a.mu.RUnlock()
	if !isOpen {
		return shard.ErrNotReady
	}
	return f()
}

// joined notes that the group has assigned partitions.
func (a *api) joined() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.assigned = true
}

// claim notes that this instance owns the partition and has not restored it yet.
func (a *api) claim(p int32) { a.set(p, nil, nil) }

// set makes s the partition's shard, and k its keeper.
func (a *api) set(p int32, s *shard.Shard, k *keeper.Keeper) {
	a.mu.Lock()
	a.shards[p], a.keepers[p] = s, k
	a.mu.Unlock()
	if s == nil {
		return
	}
	// Subjects that are added from here on find the shard; those that were added before are told to it.
	for stream, adds := range a.subjects.All() {
		s.WatchSubjects(context.Background(), stream, adds...)
	}
	for stream, adds := range a.watched.All() {
		s.WatchLists(context.Background(), stream, listWatches(adds)...)
	}
}

// drop notes that this instance no longer owns the partition.
func (a *api) drop(p int32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.shards, p)
	delete(a.keepers, p)
}

// ready returns why not every owned partition can answer yet, or nil.
func (a *api) ready() error {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if !a.assigned {
		return errors.New("waiting for the consumer group to assign partitions")
	}
	ready, remaining := 0, int64(0)
	for _, s := range a.shards {
		if s == nil {
			continue
		}
		err := s.Ready()
		switch {
		case err == nil:
			ready++
		case errors.Is(err, shard.ErrNotReady):
			remaining += s.Remaining()
		default:
			return err
		}
	}
	if ready == len(a.shards) {
		return nil
	}
	return fmt.Errorf("restoring: %d of %d partitions are ready, %d records of status remain", ready, len(a.shards),
		remaining)
}

// owner returns the shard of the job's partition. The error is shard.ErrNotOwner when another tracker
// owns that partition, and shard.ErrNotReady while it is being restored.
func (a *api) owner(jobID string) (*shard.Shard, error) {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.partitions == 0 {
		return nil, shard.ErrNotOwner
	}
	return a.shardLocked(kafka.Partition(jobID, a.partitions))
}

// shardLocked is owner for a partition. a.mu is held.
func (a *api) shardLocked(p int32) (*shard.Shard, error) {
	s, claimed := a.shards[p]
	switch {
	case !claimed:
		return nil, shard.ErrNotOwner
	case s == nil:
		return nil, shard.ErrNotReady
	}
	return s, nil
}

func (a *api) partitionCount() int32 {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.partitions
}

// owned returns the shards that are restored.
func (a *api) owned() []*shard.Shard {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]*shard.Shard, 0, len(a.shards))
	for _, s := range a.shards {
		if s != nil {
			all = append(all, s)
		}
	}
	return all
}

// ownedStreams returns the keepers of the owned partitions.
func (a *api) ownedStreams() []*keeper.Keeper {
	a.mu.RLock()
	defer a.mu.RUnlock()
	all := make([]*keeper.Keeper, 0, len(a.keepers))
	for _, k := range a.keepers {
		if k != nil {
			all = append(all, k)
		}
	}
	return all
}

func checkJob(jobID, tenant string) error {
	if jobID == "" || len(jobID) > maxIDChars || tenant == "" {
		return connect.NewError(connect.CodeInvalidArgument, errors.New("job_id or tenant is missing or too long"))
	}
	return nil
}

// Get implements trackerpbconnect.TrackerHandler.
func (a *api) Get(
	ctx context.Context, req *connect.Request[trackerpb.GetRequest],
) (*connect.Response[trackerpb.GetResponse], error) {
	m := req.Msg
	if err := checkJob(m.JobId, m.Tenant); err != nil {
		return nil, err
	}
	s, err := a.owner(m.JobId)
	if err != nil {
		return nil, apiError(err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	q := shard.Query{
		JobID: m.JobId, Scope: shard.ScopeOf(m.Tenant, m.Scope), MinVersion: m.MinVersion, After: m.After,
		UntilTerminal: m.UntilTerminal,
	}
	snap, err := a.wait(ctx, s, q)
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.GetResponse{
		Job: snap.Job, Source: position(snap.Source), PayloadHash: snap.PayloadHash, Round: int64(snap.Round),
		Life: snap.Life, ResultBlob: blob(snap.ResultBlob),
		Lane: snap.Lane, Request: optional(snap.Request), AsOf: snap.AsOf.UnixMilli(), Deliveries: deliveries(
			snap.Deliveries),
	}), nil
}

func deliveries(known []event.Delivery) (all []*trackerpb.Delivery) {
	for _, d := range known {
		all = append(all, &trackerpb.Delivery{JobId: d.JobID, State: string(d.State), Version: d.Version})
	}
	return all
}

// wait answers a query. A long poll whose condition is not met is answered answerMargin before its
// deadline with the job as it is then, so that the caller gets an answer and not an error.
func (a *api) wait(ctx context.Context, s *shard.Shard, q shard.Query) (shard.Snapshot, error) {
	deadline, ok := ctx.Deadline()
	if !ok || q.After == 0 && !q.UntilTerminal {
		return s.Get(ctx, q)
	}
	poll, cancel := context.WithDeadline(ctx, deadline.Add(-min(answerMargin, time.Until(deadline)/2)))
	defer cancel()
	snap, err := s.Get(poll, q)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		q.After, q.UntilTerminal = 0, false
		return s.Get(ctx, q)
	}
	return snap, err
}

// bounded gives a context without a deadline the default timeout.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, defaultTimeout)
}

// Reserve implements trackerpbconnect.TrackerHandler.
func (a *api) Reserve(
	ctx context.Context, req *connect.Request[trackerpb.ReserveRequest],
) (*connect.Response[trackerpb.ReserveResponse], error) {
	m := req.Msg
	if err := checkJob(m.JobId, m.Tenant); err != nil {
		return nil, err
	}
	s, err := a.owner(m.JobId)
	if err != nil {
		return nil, apiError(err)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	r, err := s.Reserve(ctx, m.JobId, shard.ScopeOf(m.Tenant, m.Scope), m.Holder)
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.ReserveResponse{
		Reserved: r.Held, Closed: r.Closed, Job: r.Job.Job, PayloadHash: r.Job.PayloadHash,
	}), nil
}

// Unreserve implements trackerpbconnect.TrackerHandler.
func (a *api) Unreserve(
	ctx context.Context, req *connect.Request[trackerpb.UnreserveRequest],
) (*connect.Response[trackerpb.UnreserveResponse], error) {
	m := req.Msg
	if m.JobId == "" || len(m.JobId) > maxIDChars || m.Holder == "" {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			errors.New("job_id or holder is missing, or job_id is too long"))
	}
	s, err := a.owner(m.JobId)
	if err == nil {
		err = s.Unreserve(ctx, m.JobId, m.Holder)
	}
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.UnreserveResponse{}), nil
}

// KeepTicket implements trackerpbconnect.TrackerHandler.
func (a *api) KeepTicket(
	ctx context.Context, req *connect.Request[trackerpb.KeepTicketRequest],
) (*connect.Response[trackerpb.KeepTicketResponse], error) {
	m := req.Msg
	if m.TicketId == "" || len(m.TicketId) > maxIDChars || len(m.Identity) > maxIdentityBytes || m.TtlMs <= 0 {
		return nil, connect.NewError(connect.CodeInvalidArgument,
			errors.New("ticket_id or ttl_ms is missing, or something is too long"))
	}
	s, err := a.owner(m.TicketId)
	if err == nil {
		err = s.KeepTicket(ctx, m.TicketId, m.Identity, time.Duration(m.TtlMs)*time.Millisecond)
	}
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.KeepTicketResponse{}), nil
}

// TakeTicket implements trackerpbconnect.TrackerHandler.
func (a *api) TakeTicket(
	ctx context.Context, req *connect.Request[trackerpb.TakeTicketRequest],
) (*connect.Response[trackerpb.TakeTicketResponse], error) {
	s, err := a.owner(req.Msg.TicketId)
	if err != nil {
		return nil, apiError(err)
	}
	identity, err := s.TakeTicket(ctx, req.Msg.TicketId)
	if err != nil {
		return nil, apiError(err)
	}
	return connect.NewResponse(&trackerpb.TakeTicketResponse{Identity: identity}), nil
}

func blob(b *event.Blob) *trackerpb.Blob {
	if b == nil {
		return nil
	}
	return &trackerpb.Blob{Key: b.Key, Size: b.Size, ContentType: b.ContentType, Name: b.Name}
}

func optional(p *event.Position) *trackerpb.Position {
	if p == nil {
		return nil
	}
	return position(*p)
}

func position(p event.Position) *trackerpb.Position {
	return &trackerpb.Position{Topic: p.Topic, Partition: p.Partition, Offset: p.Offset}
}

// Watch implements trackerpbconnect.TrackerHandler. This goroutine sends; a second one,
// which ends with the stream's context, receives.
func (a *api) Watch(
	ctx context.Context, bidi *connect.BidiStream[trackerpb.WatchRequest, trackerpb.WatchResponse],
) error {
	// The headers go out at once, by which the gateway sees that it is accepted.
	if err := bidi.Send(nil); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream := watch.NewStream()
	received := make(chan struct{})
	go func() {
		defer close(received)
		defer cancel()
		a.receive(ctx, bidi, stream)
	}()
	var err error
	for err == nil {
		var response *trackerpb.WatchResponse
		if response, err = stream.Next(ctx); err == nil {
			err = bidi.Send(response)
		}
	}
	cancel()
	stream.Close()
	a.subjects.Leave(stream)
	a.watched.Leave(stream)
	a.queues.Leave(stream)
	a.gateways.leave(stream)
	for _, s := range a.owned() {
		s.Leave(stream)
	}
	// Receive ends when the handler returns and not before; it only touches the stream,
	// which is closed.
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// receive hands what the gateway adds and removes to the shards until the stream ends. Adds that no
// shard of this instance can take are answered here.
func (a *api) receive(
	ctx context.Context, bidi *connect.BidiStream[trackerpb.WatchRequest, trackerpb.WatchResponse], stream *watch.Stream,
) {
	for ctx.Err() == nil {
		m, err := bidi.Receive()
		if err != nil {
			return
		}
		if m.Queues {
			a.queues.Add(stream)
		}
		if m.Gateway != nil {
			a.gateways.add(stream, m.Gateway)
		}
		for _, id := range m.Remove {
			if s, err := a.owner(id); err == nil {
				s.Unwatch(ctx, stream, id)
			}
		}
		for _, add := range m.Add {
			if checkJob(add.JobId, add.Tenant) != nil {
				stream.Answer(&trackerpb.Watched{JobId: add.JobId, Tenant: add.Tenant, Who: add.Who,
					Outcome: trackerpb.Watched_NOT_FOUND})
				continue
			}
			s, err := a.owner(add.JobId)
			if err == nil {
				s.Watch(ctx, stream, add)
				continue
			}
			outcome := trackerpb.Watched_NOT_OWNER
			if errors.Is(err, shard.ErrNotReady) {
				outcome = trackerpb.Watched_NOT_READY
			}
			stream.Answer(&trackerpb.Watched{JobId: add.JobId, Tenant: add.Tenant, Who: add.Who, Outcome: outcome})
		}
		if !a.receiveSubjects(ctx, m, stream) || !a.receiveLists(ctx, m, stream) || !stream.Room(ctx, maxBacklog) {
			return
		}
	}
}

// receiveSubjects adds and removes watched subjects. It returns false after it has closed the stream
// because the gateway broke a bound.
func (a *api) receiveSubjects(ctx context.Context, m *trackerpb.WatchRequest, stream *watch.Stream) bool {
	for _, handle := range m.RemoveSubjects {
		a.subjects.Remove(stream, handle)
		for _, s := range a.owned() {
			s.UnwatchSubject(ctx, stream, handle)
		}
	}
	for _, add := range m.AddSubjects {
		if add.Handle == 0 || add.Tenant == "" || !a.subjects.Add(stream, add) {
			stream.Close()
			return false
		}
	}
	if len(m.AddSubjects) > 0 {
		for _, s := range a.owned() {
			s.WatchSubjects(ctx, stream, m.AddSubjects...)
		}
	}
	return true
}
