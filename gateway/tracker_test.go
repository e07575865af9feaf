package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/simnet"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

const trackerAddr = "localhost:8090"

// testSubject is the owner of jobs that tests make without naming one.
const testSubject = "alice"

// fakeTracker is a tracker that a test plays: it knows the jobs whose accepted it read, and
// those that the test makes, and says what the test wants.
type fakeTracker struct {
	trackerpbconnect.UnimplementedTrackerHandler
	w *world

	gets atomic.Int64 // questions for one job

	mu       sync.Mutex // guards all below
	mute     bool       // lists are not covered
	jobs     map[string]*fakeJob
	streams  map[*fakeStream]struct{}
	silent   chan struct{}   // not nil: nothing is answered until it is closed
	next     map[int32]int64 // positions
	onOrder  func(e *event.Event, version int64)
	removed  []string // every remove that was heard
	adds     int
	held     map[string]string   // reservations: job ID → holder
	early    map[string][]func() // by job ID: adds that came before their job's accepted
	lag      time.Duration       // before each record is folded
	behind   map[string]*fakeJob // what streams are told of a job by a tracker that lags
	asOf     int64               // Unix milliseconds
	waits    []*trackerpb.LaneWait
	untagged bool           // it is of a version that does not know of tags
	refuse   []connect.Code // the next lists and counts are answered so, one after the other
	lists    []*trackerpb.ListRequest
	stats    []*trackerpb.StatsRequest
	tickets  map[string]fakeTicket
	said     fakeStreams
	dead     fakeDead
	fleet    fakeFleet
	past     fakePast
}

type fakeTicket struct {
	identity []byte
	until    time.Time
}

func (f *fakeTracker) KeepTicket(
	_ context.Context, r *connect.Request[trackerpb.KeepTicketRequest],
) (*connect.Response[trackerpb.KeepTicketResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tickets == nil {
		f.tickets = map[string]fakeTicket{}
	}
	f.tickets[r.Msg.TicketId] = fakeTicket{r.Msg.Identity, time.Now().Add(time.Duration(r.Msg.TtlMs) * time.Millisecond)}
	return connect.NewResponse(&trackerpb.KeepTicketResponse{}), nil
}

func (f *fakeTracker) TakeTicket(
	_ context.Context, r *connect.Request[trackerpb.TakeTicketRequest],
) (*connect.Response[trackerpb.TakeTicketResponse], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept, ok := f.tickets[r.Msg.TicketId]
	delete(f.tickets, r.Msg.TicketId)
	if !ok || time.Now().After(kept.until) {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("no such ticket"))
	}
	return connect.NewResponse(&trackerpb.TakeTicketResponse{Identity: kept.identity}), nil
}

type fakeJob struct {
	round        int64
	tenant, hash string
	source       *trackerpb.Position
	version      int64
	document     []byte
	terminal     bool

	created       int64 // Unix milliseconds
	subject, lane string
	request       *trackerpb.Position
	deliveries    []*trackerpb.Delivery
}

type fakeStream struct {
	watches map[string]bool
	lists   map[uint32]*trackerpb.ListRequest
	queues  bool // the gateway has asked for reports of queues
	out     chan *trackerpb.WatchResponse
}

func (w *world) startTracker() {
	w.t.Helper()
	addr := trackerAddr
	if w.net == nil {
		addr = "127.0.0.1:0"
	}
	w.tracker = w.addTracker("tracker", addr)
	w.eventually("the gateway has found the tracker", func() bool {
		_, err := w.gateway.up.Get(w.t.Context(), &trackerpb.GetRequest{JobId: "nobody", Tenant: "local"})
		return connect.CodeOf(err) == connect.CodeNotFound
	})
}

// addTracker starts one more tracker; the partitions are shared anew.
func (w *world) addTracker(host, addr string) *fakeTracker {
	w.t.Helper()
	f := &fakeTracker{
		w: w, jobs: map[string]*fakeJob{}, streams: map[*fakeStream]struct{}{}, held: map[string]string{},
		early: map[string][]func(){}, next: map[int32]int64{},
	}
	env := w.env(host, prometheus.NewRegistry())
	l, err := env.Listen(w.t.Context(), "tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.net == nil {
		addr = l.Addr().String()
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP2(true)
	mux := http.NewServeMux()
	mux.Handle(trackerpbconnect.NewTrackerHandler(f))
	srv := &http.Server{Handler: mux, Protocols: protocols}
	if w.trackers != nil {
		srv.Handler, srv.ErrorLog = w.trackers.Handler(mux), w.trackers.ErrorLog()
		if w.trackers.TLS() {
			l, addr = w.trackers.Listener(simnet.BufferedListener(l)), topic.TrackerScheme+addr
		}
	}
	cl, err := w.kafka().NewClient(env, topic.TrackerClientID(addr), kgo.ConsumerGroup(w.names.TrackerGroup()),
		kgo.ConsumeTopics(w.names.Status()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.Balancers(
			kgo.RangeBalancer()))
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = srv.Serve(l) })
	running.Go(func() {
		for ctx.Err() == nil {
			fetches := cl.PollFetches(ctx)
			for r := range fetches.RecordsAll() {
				f.fold(r)
			}
		}
	})
	w.t.Cleanup(func() {
		cancel()
		f.speak()
		_ = srv.Close()
		cl.LeaveGroup()
		cl.Close()
		running.Wait()
	})
	return f
}

// fold makes a job of an accepted event.
func (f *fakeTracker) fold(r *kgo.Record) {
	f.mu.Lock()
	lag := f.lag
	f.mu.Unlock()
	time.Sleep(lag)
	e, err := event.Decode(r.Value)
	if err != nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.next[r.Partition] = r.Offset + 1 }()
	if e.Type != event.Accepted {
		if f.onOrder != nil {
			f.onOrder(&e, r.Offset+1)
		}
		return
	}
	if f.jobs[e.JobID] == nil {
		at := &trackerpb.Position{Topic: e.Request.Topic, Partition: e.Request.Partition, Offset: e.Request.Offset}
		f.jobs[e.JobID] = &fakeJob{tenant: e.Tenant, hash: e.PayloadHash, version: r.Offset + 1,
			document: document(e.JobID, job.Pending),
			source:   at, request: at, created: r.Timestamp.UnixMilli(), subject: e.Subject, lane: e.Lane}
	}
	delete(f.held, e.JobID)
	for _, again := range f.early[e.JobID] {
		again()
	}
	delete(f.early, e.JobID)
}

// order folds what an owner ordered; f.mu is held.
func (f *fakeTracker) order(tenant string, e *event.Event, version int64) {
	if e.Type == event.RetryRequested {
		f.jobs[e.JobID].round++
		f.setLocked(tenant, e.JobID, version, job.Retrying)
		return
	}
	if e.Type == event.Erased {
		delete(f.jobs, e.JobID)
		return
	}
	f.setLocked(tenant, e.JobID, version, job.Cancelled)
}

func document(jobID string, state job.State) []byte {
	b, err := json.Marshal(job.Document{JobID: jobID, Type: "demo.echo", State: state, Attempt: 1, MaxAttempts: 3})
	if err != nil {
		panic(err)
	}
	return b
}

// set changes a job, or makes one, and pushes it to its watchers.
func (f *fakeTracker) set(tenant, jobID string, version int64, state job.State) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.setLocked(tenant, jobID, version, state)
}

func (f *fakeTracker) setLocked(tenant, jobID string, version int64, state job.State) {
	f.pushLocked(tenant, jobID, version, document(jobID, state), state.Terminal())
}

// push is set with any document, of a job that has not ended.
func (f *fakeTracker) push(tenant, jobID string, version int64, document []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushLocked(tenant, jobID, version, document, false)
}

func (f *fakeTracker) pushLocked(tenant, jobID string, version int64, document []byte, terminal bool) {
	j := f.jobs[jobID]
	if j == nil {
		j = &fakeJob{tenant: tenant, subject: testSubject, source: &trackerpb.Position{}}
		f.jobs[jobID] = j
	}
	j.version, j.document, j.terminal = version, document, terminal
	for s := range f.streams {
		if s.watches[jobID] && f.behind[jobID] == nil {
			s.out <- &trackerpb.WatchResponse{Updates: []*trackerpb.Job{j.proto(jobID)}}
			if j.terminal {
				delete(s.watches, jobID)
			}
		}
	}
}

// lags makes streams be told of a job as it is now, whatever becomes of it, until it is caught up.
func (f *fakeTracker) lags(jobID string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := *f.jobs[jobID]
	f.behind = map[string]*fakeJob{jobID: &now}
}

func (f *fakeTracker) caughtUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = nil
}

// version of a job; 0 when it is not known.
func (f *fakeTracker) version(jobID string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if j := f.jobs[jobID]; j != nil {
		return j.version
	}
	return 0
}

// watches counts what all streams watch.
func (f *fakeTracker) watches() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for s := range f.streams {
		n += len(s.watches)
	}
	return n
}

func (j *fakeJob) proto(id string) *trackerpb.Job {
	return &trackerpb.Job{
		JobId: id, Version: j.version, Document: j.document, Terminal: j.terminal, Tenant: j.tenant, Subject: j.subject,
	}
}

// in reports whether the job, which may be nil, is in a request's scope.
func (j *fakeJob) in(tenant string, scope *trackerpb.Scope) bool {
	if j == nil || j.tenant != tenant && !scope.GetAnyTenant() || scope.GetOwn() && j.subject != scope.GetSubject() {
		return false
	}
	ids, types := scope.GetJobIds(), scope.GetTypes()
	if len(ids)+len(types) == 0 {
		return true
	}
	var doc job.Document
	return json.Unmarshal(j.document, &doc) == nil && (len(ids) == 0 || slices.Contains(ids, doc.JobID)) &&
		(len(types) == 0 || slices.Contains(types, doc.Type))
}

func told(id string, j *fakeJob) *trackerpb.WatchResponse {
	return &trackerpb.WatchResponse{Updates: []*trackerpb.Job{j.proto(id)}}
}

// hush makes the tracker silent until speak.
func (f *fakeTracker) hush() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.silent = make(chan struct{})
}

func (f *fakeTracker) speak() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.silent != nil {
		close(f.silent)
		f.silent = nil
	}
}

func (f *fakeTracker) wait(ctx context.Context) error {
	f.mu.Lock()
	silent := f.silent
	f.mu.Unlock()
	if silent == nil {
		return nil
	}
	select {
	case <-silent:
		return nil
	case <-ctx.Done():
		return connect.NewError(connect.CodeDeadlineExceeded, ctx.Err())
	}
}

// Get implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) Get(
	ctx context.Context, r *connect.Request[trackerpb.GetRequest],
) (*connect.Response[trackerpb.GetResponse], error) {
	f.gets.Add(1)
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	for {
		f.mu.Lock()
		j := f.jobs[r.Msg.JobId]
		if j.in(r.Msg.Tenant, r.Msg.Scope) && f.next[kafka.Partition(r.Msg.JobId, testPartitions)] >= r.Msg.MinVersion &&
			(j.terminal || !r.Msg.UntilTerminal) {
			defer f.mu.Unlock()
			return connect.NewResponse(&trackerpb.GetResponse{Job: j.proto(r.Msg.JobId), Source: j.source, PayloadHash: j.hash,
				Lane: j.lane, Request: j.request, AsOf: f.asOf, Round: j.round, Deliveries: j.deliveries}), nil
		}
		folded := f.next[kafka.Partition(r.Msg.JobId, testPartitions)] >= r.Msg.MinVersion
		f.mu.Unlock()
		if !j.in(r.Msg.Tenant, r.Msg.Scope) && folded {
			return nil, connect.NewError(connect.CodeNotFound, nil)
		}
		if !pause.For(ctx, 10*time.Millisecond) {
			return nil, connect.NewError(connect.CodeDeadlineExceeded, ctx.Err())
		}
	}
}

// Reserve implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) Reserve(
	ctx context.Context, r *connect.Request[trackerpb.ReserveRequest],
) (*connect.Response[trackerpb.ReserveResponse], error) {
	if err := f.wait(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if j := f.jobs[r.Msg.JobId]; j.in(r.Msg.Tenant, r.Msg.Scope) {
		return connect.NewResponse(&trackerpb.ReserveResponse{Job: j.proto(r.Msg.JobId), PayloadHash: j.hash}), nil
	}
	f.held[r.Msg.JobId] = r.Msg.Holder
	return connect.NewResponse(&trackerpb.ReserveResponse{Reserved: true}), nil
}

// Watch implements trackerpbconnect.TrackerHandler.
func (f *fakeTracker) Watch(
	ctx context.Context, bidi *connect.BidiStream[trackerpb.WatchRequest, trackerpb.WatchResponse],
) error {
	s := &fakeStream{watches: map[string]bool{}, out: make(chan *trackerpb.WatchResponse, 10_000)}
	f.mu.Lock()
	f.streams[s] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.streams, s)
		f.mu.Unlock()
	}()
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for {
			m, err := bidi.Receive()
			if err != nil {
				return
			}
			if f.wait(ctx) == nil {
				f.hear(s, m)
			}
		}
	}()
	for {
		select {
		case m := <-s.out:
			if err := bidi.Send(m); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (f *fakeTracker) hear(s *fakeStream, m *trackerpb.WatchRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.queues = s.queues || m.Queues
	f.watchLists(s, m)
	for _, id := range m.Remove {
		f.removed = append(f.removed, id)
		delete(s.watches, id)
		delete(f.early, id)
	}
	for _, add := range m.Add {
		f.adds++
		if f.jobs[add.JobId] == nil && add.MinVersion > 0 {
			f.early[add.JobId] = append(f.early[add.JobId], func() { f.watch(s, add) })
			continue
		}
		f.watch(s, add)
	}
}

func (f *fakeTracker) watch(s *fakeStream, add *trackerpb.WatchAdd) {
	w := &trackerpb.Watched{JobId: add.JobId, Tenant: add.Tenant, Who: add.Who, Outcome: trackerpb.Watched_NOT_FOUND}
	r := &trackerpb.WatchResponse{Watched: []*trackerpb.Watched{w}}
	j := f.jobs[add.JobId]
	if behind := f.behind[add.JobId]; behind != nil {
		j = behind
	} else {
		w.Position, w.Known = f.next[kafka.Partition(add.JobId, testPartitions)], max(add.After, add.Known)
	}
	if j.in(add.Tenant, add.Scope) {
		w.Outcome, w.Version, w.Ended = trackerpb.Watched_WATCHING, j.version, j.terminal
		switch size := int64(len(j.document)); {
		case j.version <= add.After && j.version >= w.Known:
		case j.terminal && add.MaxDocument > 0 && size > add.MaxDocument:
			w.Withheld = size
		default:
			r.Updates = append(r.Updates, j.proto(add.JobId))
		}
		if !j.terminal {
			s.watches[add.JobId] = true
		}
	}
	s.out <- r
}
