package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

const (
	retryInterval   = 100 * time.Millisecond // between two tries to reach an owner
	refreshInterval = 3 * time.Second        // the group is asked at least so often
	dialTimeout     = 2 * time.Second
	pingAfter       = time.Second     // a connection that is silent for so long is pinged
	pingTimeout     = 2 * time.Second // a ping without an answer ends the connection after this
)

// Watcher hears what the streams say. Its methods are called from several goroutines, for
// one job always from one at a time, and must not block.
type Watcher interface {
	// Watched answers an add.
	Watched(*trackerpb.Watched)
	// Update is a newer document of a watched job.
	Update(*trackerpb.Job)
	// Lost means that jobs have no stream any more; the watcher adds them again.
	Lost(jobIDs []string)
	// Covered tells which subjects' jobs a stream brings, of one partition.
	Covered(stream uint64, c *trackerpb.Coverage)
	// Uncovered means that the stream, which has covered something, has ended.
	Uncovered(stream uint64)
}

// Upstream reaches all trackers.
type Upstream struct {
	// Set by New, then only read.
	owners    *owners
	watcher   Watcher
	log       *slog.Logger
	transport *http.Transport
	http      *http.Client
	wake      wake.Signal // jobs wait for another try
	written   positions
	links     *links

	mu      sync.Mutex // guards all below; no other lock is taken under it
	ctx     context.Context
	streams map[string]*stream
	lastID  uint64 // of a stream
	lost    map[string]struct{}
	wg      sync.WaitGroup
	closed  bool

	subjects map[uint32]*trackerpb.SubjectAdd // by handle; every stream has them all
}

// New returns an upstream; Run must be running before it is asked for watches.
func New(names topic.Names, cl *kgo.Client, dial func(context.Context, string, string) (net.Conn, error), w Watcher,
	log *slog.Logger) *Upstream {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	links := newLinks()
	transport := &http.Transport{
		Protocols: protocols,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return links.over(c, address), nil
		},
		// A tracker that hangs is noticed by its silence.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	return &Upstream{
		owners:    newOwners(names, cl),
		watcher:   w,
		log:       log,
		transport: transport,
		http:      &http.Client{Transport: transport},
		wake:      wake.New(),
		links:     links,
		streams:   map[string]*stream{},
		lost:      map[string]struct{}{},
		subjects:  map[uint32]*trackerpb.SubjectAdd{},
	}
}

// Run keeps the streams until ctx ends and every one of them has.
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

// retry hands jobs without a stream back to the watcher once their owners may have changed.
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
	u.mu.Unlock()
	if len(ids) > 0 {
		u.watcher.Lost(ids)
	}
}

func (u *Upstream) refresh(ctx context.Context) {
	err := u.owners.refresh(ctx)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		u.log.Debug("no tracker has made its topic yet", "err", err)
	case err != nil:
		u.log.Warn("trackers are not known", "err", err)
	}
	u.links.keep(u.owners.addresses(), time.Now())
	u.reach()
}

// lose notes jobs for another try.
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

// Add watches a job, at its owner now or once there is one. The answer comes to the watcher.
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

// streamLocked is the stream to a tracker, a new one if there is none. Run runs.
func (u *Upstream) streamLocked(addr string) *stream {
	s := u.streams[addr]
	if s == nil {
		u.lastID++
		s = newStream(u, addr, u.lastID)
		for _, add := range u.subjects {
			s.addSubject(add)
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

// Lose notes a job for another try; it comes back to the watcher as Lost.
func (u *Upstream) Lose(jobID string) { u.lose(jobID) }

// Ended notes that the tracker has dropped a watch by itself.
func (u *Upstream) Ended(jobID string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, s := range u.streams {
		s.forget(jobID)
	}
}

// drop removes a stream that has ended; its jobs look for an owner again.
func (u *Upstream) drop(s *stream) {
	u.mu.Lock()
	if u.streams[s.addr] == s {
		delete(u.streams, s.addr)
	}
	covered := len(u.subjects) > 0
	u.mu.Unlock()
	u.lose(s.takeJobs()...)
	if covered {
		u.watcher.Uncovered(s.id)
	}
	u.wake.Send() // whether the group still counts it as alive is soon to be known
}

// Streams is how many trackers are connected.
func (u *Upstream) Streams() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.streams)
}

func (u *Upstream) client(addr string) trackerpbconnect.TrackerClient {
	// Trackers are near, and documents small: gzip costs more than it saves.
	return trackerpbconnect.NewTrackerClient(u.http, "http://"+addr, connect.WithAcceptCompression("gzip", nil, nil))
}

// Get asks the job's owner, and again while there is none, until ctx ends. Its errors
// carry Connect codes.
func (u *Upstream) Get(ctx context.Context, req *trackerpb.GetRequest) (*trackerpb.GetResponse, error) {
	return ask(ctx, u, req.JobId, func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.GetResponse],
		error) {
		return c.Get(ctx, connect.NewRequest(req))
	})
}

// Reserve is Get's sibling for idempotency keys.
func (u *Upstream) Reserve(ctx context.Context, req *trackerpb.ReserveRequest) (*trackerpb.ReserveResponse, error) {
	return ask(ctx, u, req.JobId, func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.ReserveResponse],
		error) {
		return c.Reserve(ctx, connect.NewRequest(req))
	})
}

// Unreserve gives a key back.
func (u *Upstream) Unreserve(ctx context.Context, req *trackerpb.UnreserveRequest) error {
	_, err := ask(ctx, u, req.JobId,
		func(c trackerpbconnect.TrackerClient) (*connect.Response[trackerpb.UnreserveResponse], error) {
			return c.Unreserve(ctx, connect.NewRequest(req))
		})
	return err
}

// KeepTicket keeps a ticket where every gateway finds it.
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
			if !worthAnother(err) {
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

// worthAnother reports whether a question may be put again: the tracker says so, or it said
// nothing, as the connection broke before its answer was whole.
func worthAnother(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeFailedPrecondition:
		return true
	}
	return !connect.IsWireError(err)
}
