package upstream

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/queue"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

const (
	retryInterval   = 100 * time.Millisecond // between two tries to reach an owner
	refreshInterval = 3 * time.Second        // the longest time between two questions to the group
	dialTimeout     = 2 * time.Second
	pingAfter       = time.Second     // silence after which a connection is pinged
	pingTimeout     = 2 * time.Second // a connection that does not answer a ping for so long is closed
)

// Watcher receives what the watch streams bring. Its methods are called from several goroutines, but
// for one job from one at a time, and must not block.
type Watcher interface {
	// Watched is called with the answer to an Add.
	Watched(*trackerpb.Watched)
	// Update is called with a newer document of a watched job.
	Update(*trackerpb.Job)
	// Lost is called with jobs that are not watched at any tracker any more. The watcher must Add them again.
	Lost(jobIDs []string)
	// Listed is called with changes in a watched list.
	Listed(*trackerpb.ListChanges)
	// Covered is called when a stream begins or ends to bring the jobs of some subjects or lists, of one partition.
	Covered(stream uint64, c *trackerpb.Coverage)
	// Uncovered is called when a stream that may have covered subjects or lists has ended.
	Uncovered(stream uint64)
}

// Upstream is the gateway's connection to all trackers.
type Upstream struct {
	// Set by New, then only read.
	owners    *owners
	watcher   Watcher
	log       *slog.Logger
	transport *http.Transport
	http      *http.Client
	wake      wake.Signal // there are lost jobs, or the owners may have changed
	written   positions
	links     *links
	queues    *queue.Board       // nil: the trackers are not asked for them
	process   *trackerpb.Process // this gateway; nil if the trackers are not told

	mu      sync.Mutex          // guards the fields below; no other lock is taken under it
	ctx     context.Context     // Run's; nil before Run
	streams map[string]*stream  // by the tracker's address
	lastID  uint64              // ID of the last stream that was made
	lost    map[string]struct{} // IDs of jobs without a stream, which wait for another try
	wg      sync.WaitGroup      // streams
	closed  bool                // Run's ctx has ended

	subjects map[uint32]*trackerpb.SubjectAdd // by handle; every stream has them all
	lists    map[uint32]*trackerpb.ListAdd    // the same
	follows  follows                          // of streams of jobs
}

// Config is what New needs.
type Config struct {
	Names   topic.Names
	Kafka   *kgo.Client
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Peers   *peers.Client // how the trackers know this gateway, and the gateway them
	Watcher Watcher
	Streams StreamWatcher // of streams of jobs; nil if none is followed
	Log     *slog.Logger
	Bounds  kafka.Bounds
	Lanes   []string           // whose queues the trackers are to report; if empty they are not asked
	Process *trackerpb.Process // this gateway, for operators; nil if the trackers are not to be told
}

// New returns an upstream. Watches begin only once Run runs.
func New(cfg Config) *Upstream {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	protocols.SetHTTP2(true)
	links := newLinks(cfg.Log, cfg.Bounds.Tracker)
	dial := func(ctx context.Context, network, hostPort, tracker string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		c, err := cfg.Dial(ctx, network, hostPort)
		if err != nil {
			return nil, err
		}
		return links.over(c, tracker), nil
	}
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(ctx, network, address, address)
		},
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address, topic.TrackerScheme+address)
			if err != nil {
				return nil, err
			}
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			var secure *tls.Conn // the type by which net/http sees that HTTP/2 was negotiated
			if secure, err = cfg.Peers.TLS(ctx, c, address); err != nil {
				return nil, err
			}
			return secure, nil
		},
		// Pings find a tracker that hangs.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	var queues *queue.Board
	if len(cfg.Lanes) > 0 {
		queues = queue.NewBoard(cfg.Lanes)
	}
	return &Upstream{
		queues:    queues,
		process:   cfg.Process,
		owners:    newOwners(cfg.Names, cfg.Kafka, cfg.Bounds),
		watcher:   cfg.Watcher,
		log:       cfg.Log,
		transport: transport,
		http:      &http.Client{Transport: &peers.Transport{Client: cfg.Peers, HTTP: transport, Told: links.told}},
		wake:      wake.New(),
		links:     links,
		streams:   map[string]*stream{},
		lost:      map[string]struct{}{},
		subjects:  map[uint32]*trackerpb.SubjectAdd{},
		lists:     map[uint32]*trackerpb.ListAdd{},
		follows:   newFollows(cfg.Streams),
	}
}

// Run keeps a watch stream to every tracker until ctx ends. It returns when all streams have ended.
func (u *Upstream) Run(ctx context.Context) error {
	u.mu.Lock()
	u.ctx = ctx
	u.mu.Unlock()
	fresh := time.NewTicker(refreshInterval)
	defer fresh.Stop()
	u.refresh(ctx)
	for {
		select {
		case <-fresh.C:
			u.refresh(ctx)
			u.tryRefused(ctx)
		case <-ctx.Done():
			u.mu.Lock()
			u.closed = true
			u.mu.Unlock()
			u.wg.Wait()
			u.owners.requests.Wait()
			u.transport.CloseIdleConnections()
			return nil
		case <-u.wake:
			u.retry(ctx)
		}
	}
}

// retry asks the group for the owners again, and then gives the lost jobs back to the watcher.
func (u *Upstream) retry(ctx context.Context) {
	if !pause.For(ctx, retryInterval) {
		return
	}
	u.refresh(ctx)
	u.mu.Lock()
	ids := make([]string, 0, len(u.lost))
	for id := range u.lost {
		ids = append(ids, id)
	}
	clear(u.lost)
	handles := u.follows.takeLost()
	u.mu.Unlock()
	if len(ids) > 0 {
		u.watcher.Lost(ids)
	}
	if len(handles) > 0 {
		u.follows.watcher.Lost(handles)
	}
}

func (u *Upstream) refresh(ctx context.Context) {
	err := u.owners.refresh(ctx)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		u.log.Debug("no tracker has made its topic yet", "err", err)
	case err != nil:
		u.log.Warn("cannot find out which tracker owns which partition", "err", err)
	}
	u.links.keep(u.owners.addresses(), time.Now())
	u.reach()
}

// lose records that jobs have no stream: retry will give them back to the watcher.
func (u *Upstream) lose(jobIDs ...string) {
	if len(jobIDs) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.loseLocked(jobIDs...)
}

func (u *Upstream) loseLocked(jobIDs ...string) {
	for _, id := range jobIDs {
		u.lost[id] = struct{}{}
	}
	u.wake.Send()
}

// Add watches a job at the tracker that owns its partition. The answer goes to the watcher's Watched; if there is no
// owner, or the stream ends, the watcher's Lost is called later.
func (u *Upstream) Add(add *trackerpb.WatchAdd) {
	addr, ok := u.owners.of(add.JobId)
	if !ok {
		u.lose(add.JobId)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || u.ctx == nil {
		u.loseLocked(add.JobId)
		return
	}
	if !u.streamLocked(addr).add(add) {
		u.loseLocked(add.JobId)
	}
}

// streamLocked returns the stream to a tracker, a new one if there is none. Run must be running.
func (u *Upstream) streamLocked(addr string) *stream {
	s := u.streams[addr]
	if s == nil {
		u.lastID++
		s = newStream(u, addr, u.lastID)
		for _, add := range u.subjects {
			s.addSubject(add)
		}
		for _, add := range u.lists {
			s.addList(add)
		}
		u.streams[addr] = s
		ctx := u.ctx
		u.wg.Go(func() { s.run(ctx) })
	}
	return s
}

// Remove ends the watch of a job.
func (u *Upstream) Remove(jobID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.lost, jobID)
	for _, s := range u.streams {
		s.remove(jobID)
	}
}

// Lose gives up the watch of a job for now: after a pause the watcher's Lost is called for it.
func (u *Upstream) Lose(jobID string) { u.lose(jobID) }

// Ended records that the tracker has ended the watch of a job by itself.
func (u *Upstream) Ended(jobID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.streams {
		s.forget(jobID)
	}
}

// drop removes a stream that has ended. Its jobs become lost.
func (u *Upstream) drop(s *stream) {
	u.mu.Lock()
	if u.streams[s.addr] == s {
		delete(u.streams, s.addr)
	}
	covered := len(u.subjects)+len(u.lists) > 0
	u.mu.Unlock()
	if u.queues != nil {
		u.queues.Forget(s.id)
	}
	u.lose(s.takeJobs()...)
	if covered {
		u.watcher.Uncovered(s.id)
	}
	u.wake.Send() // ask the group soon whether the tracker is still a member
}

// Acked counts a job of a lane that is acked now, and returns its place in the lane as the trackers' reports have it.
// It asks no tracker.
func (u *Upstream) Acked(lane string, now time.Time) queue.Place { return u.queues.Acked(lane, now) }

// Streams returns the number of trackers to which there is a stream.
func (u *Upstream) Streams() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.streams)
}

func (u *Upstream) client(addr string) trackerpbconnect.TrackerClient {
	// No gzip: trackers are near and documents small, so it would cost more than it saves.
	plain := connect.WithAcceptCompression("gzip", nil, nil)
	return trackerpbconnect.NewTrackerClient(u.http, topic.TrackerURL(addr), plain)
}

// Get asks the tracker that owns the job's partition. It tries again while there is no owner, until ctx ends. Its
// errors have Connect codes.
func (u *Upstream) Get(ctx context.Context, req *trackerpb.GetRequest) (*trackerpb.GetResponse, error) {
	got, err := ask(ctx, u, req.JobId, func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.GetResponse],
		error) {
		return c.Get(ctx, connect.NewRequest(req))
	})
	if err == nil && got.Job != nil {
		got.Job.Document = shown(req.Scope, got.Job.Document)
	}
	return got, err
}

// shown returns a job's document as a scope may see it: who has submitted the job is no matter of a grant that opens
// others' jobs.
func shown(scope *trackerpb.Scope, document []byte) []byte {
	if !auth.HidesSubject(scope) {
		return document
	}
	return job.WithoutSubject(document)
}

// Reserve reserves an idempotency key, or finds its job. It tries again as Get does.
func (u *Upstream) Reserve(ctx context.Context, req *trackerpb.ReserveRequest) (*trackerpb.ReserveResponse, error) {
	return ask(ctx, u, req.JobId, func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.ReserveResponse],
		error) {
		return c.Reserve(ctx, connect.NewRequest(req))
	})
}

// Unreserve releases the reservation of an idempotency key.
func (u *Upstream) Unreserve(ctx context.Context, req *trackerpb.UnreserveRequest) error {
	_, err := ask(ctx, u, req.JobId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.UnreserveResponse], error) {
			return c.Unreserve(ctx, connect.NewRequest(req))
		})
	return err
}

// KeepTicket stores a ticket at a tracker, where every gateway can redeem it.
func (u *Upstream) KeepTicket(ctx context.Context, req *trackerpb.KeepTicketRequest) error {
	_, err := ask(ctx, u, req.TicketId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.KeepTicketResponse], error) {
			return c.KeepTicket(ctx, connect.NewRequest(req))
		})
	return err
}

// TakeTicket redeems a ticket.
func (u *Upstream) TakeTicket(
	ctx context.Context, req *trackerpb.TakeTicketRequest,
) (*trackerpb.TakeTicketResponse, error) {
	return ask(ctx, u, req.TicketId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.TakeTicketResponse], error) {
			return c.TakeTicket(ctx, connect.NewRequest(req))
		})
}

// ask calls the tracker that owns the partition of an ID. It tries again after errors of worthAnother, with the owner
// looked up anew, until ctx ends.
func ask[T any](ctx context.Context, u *Upstream, jobID string,
	call func(trackerpbconnect.TrackerClient) (*connect.Response[T], error)) (*T, error) {
	for {
		addr, err := u.owners.find(ctx, jobID)
		if err == nil {
			if err := u.links.broken(addr, time.Now()); err != nil {
				return nil, connect.NewError(connect.CodeUnavailable, err)
			}
			var r *connect.Response[T]
			if r, err = call(u.client(addr)); err == nil {
				return r.Msg, nil
			}
			if isRefused(err) || !worthAnother(err) {
				return nil, err
			}
		}
		if !pause.For(ctx, retryInterval) {
			return nil, connect.NewError(connect.CodeUnavailable, err)
		}
		if refreshErr := u.owners.refresh(ctx); refreshErr != nil {
			return nil, connect.NewError(connect.CodeUnavailable, refreshErr)
		}
	}
}

// isRefused reports whether a tracker refuses this gateway, or the gateway the tracker. It is useless to try again at
// once.
func isRefused(err error) bool {
	_, ok := errors.AsType[*peers.RefusedError](err)
	return ok
}

// worthAnother reports whether a request may be repeated: the tracker is not ready or not the owner, or the connection
// broke before its answer was complete.
func worthAnother(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeFailedPrecondition:
		return true
	}
	return !connect.IsWireError(err)
}

// ListStreams lists the streams of a job.
func (u *Upstream) ListStreams(ctx context.Context, req *trackerpb.StreamsRequest) (*trackerpb.StreamsResponse, error) {
	return ask(ctx, u, req.JobId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.StreamsResponse], error) {
			return c.Streams(ctx, connect.NewRequest(req))
		})
}

// ReadStream returns what follows a cursor in a stream of a job.
func (u *Upstream) ReadStream(
	ctx context.Context, req *trackerpb.ReadStreamRequest,
) (*trackerpb.ReadStreamResponse, error) {
	return ask(ctx, u, req.JobId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.ReadStreamResponse], error) {
			return c.ReadStream(ctx, connect.NewRequest(req))
		})
}

// Document decodes the document of a job that a tracker has answered with.
func Document(j *trackerpb.Job) (*job.Document, error) {
	var doc job.Document
	if err := json.Unmarshal(j.Document, &doc); err != nil {
		return nil, fmt.Errorf("document of job %s: %w", j.JobId, err)
	}
	return &doc, nil
}
