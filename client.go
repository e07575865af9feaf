package ackwire

import (
	"context"
	"iter"
	"sync"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Client is a lasting connection to Ackwire: it submits jobs over one WebSocket, follows them, and reconnects by
// itself when the socket is lost. It is safe for concurrent use, and one client is enough for a whole process; use
// one client per identity (token). Make it with [Dial] and end it with [Client.Close].
//
// Questions about jobs that have no frame (Get, List, Stats, Why, Result) go over HTTP, with the same identity.
type Client struct {
	// Goroutines: run decides which connection is in use. Each connection has a writer, and a
	// reader that also cleans up when the connection ends. run waits for all of them and
	// Close waits for run. Requests do not travel through channels: a caller queues its request
	// under mu, and the current connection's writer takes it from there. So a caller that gives
	// up can take its request back, and a queue never holds more than the callers that wait.

	// Set by Dial, then only read.
	cfg    *config
	api    *rest
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	done   chan struct{} // closed when run has ended

	wg sync.WaitGroup // readers, writers, renewals, closing sockets; run waits for it

	mu      sync.Mutex // guards everything below, every call, conn and sub; nothing blocks under it
	err     error      // why the client has ended, once it has
	cur     *conn      // where new requests go; nil while there is none
	conns   map[*conn]struct{}
	seq     uint64 // last correlation ID; IDs are never reused, so a late answer cannot match another request
	urgent  callList
	orders  callList
	submits callList
	subs    map[string]*sub      // by job ID
	dirty   []*sub               // to be subscribed on cur
	unsubs  []string             // job IDs to be unsubscribed on cur
	parted  map[string]bool      // IDs of jobs whose own watches have ended on cur; maxParted of them stand for all jobs
	mine    *mine                // nil while there is no WatchMine
	lists   map[string]*liveList // by the name that this client gives each; nil before the first WatchList
	stats   ConnStats
}

// ConnStats counts events on a client's connections since Dial.
type ConnStats struct {
	Connects  int64 // connections that were welcomed
	Resends   int64 // requests sent again after a lost connection
	Goaways   int64 // times the server asked to reconnect
	Frames    int64 // frames read
	Stale     int64 // status frames dropped: no newer than the last one, or of a job without a watch
	BadFrames int64 // frames that could not be read
}

// Dial connects to the Ackwire at url and returns once the server has welcomed the connection. url is a base address,
// such as wss://jobs.example, or the full address of /v1/ws; http and ws mean the same here, and so do https and wss.
// A path before /v1/ws is kept (a proxy may need it), and so is the query, which is sent with the handshake. ctx
// bounds the dialling only; the client lives until Close.
//
// If the server cannot be reached, Dial fails at once, unless WithRetryDial is given. If the server refuses the
// connection, the error is an *Error (with the code unauthenticated for a token that is not accepted) or a
// *CloseError.
func Dial(ctx context.Context, url string, opts ...Option) (*Client, error) {
	c, err := newClient(url, opts)
	if err != nil {
		return nil, err
	}
	c.api.ended = c.Err
	cn, err := c.dialFirst(ctx)
	if err != nil {
		c.cancel()
		c.api.closeIdle()
		return nil, err
	}
	c.install(cn)
	go c.run(cn)
	return c, nil
}

// newClient makes a client without a connection.
func newClient(url string, opts []Option) (*Client, error) {
	api, err := newRest(url, opts)
	if err != nil {
		return nil, err
	}
	c := &Client{
		cfg: api.cfg, api: api,
		done:  make(chan struct{}),
		conns: make(map[*conn]struct{}),
		subs:  make(map[string]*sub),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

func (c *Client) dialFirst(ctx context.Context) (*conn, error) {
	if c.cfg.retryDial {
		return c.reconnect(ctx, 0, new(int))
	}
	return c.connect(ctx)
}

// Close ends the client: every waiting call returns ErrClosed (or an IndeterminateError around it), every watch ends
// with ErrClosed. It closes the WebSocket with a closing handshake, for which it waits about a second at most, and
// returns when all goroutines have ended. Submitted jobs are not affected. It may be called any number of times, from
// anywhere but the client's own callbacks; it always returns nil.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	c.cancel()
	<-c.done
	return nil
}

// Done returns a channel that is closed when the client has ended, by Close or by a permanent failure; Err then says
// why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns nil while the client is alive, and afterwards the error that every call on it returns.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// ConnStats returns the counters of the client's connections.
func (c *Client) ConnStats() ConnStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// Ping sends a ping over the socket and returns when the server has answered. While there is no connection it waits
// for the next one. It fails with ctx's error or the client's.
func (c *Client) Ping(ctx context.Context) error {
	return c.do(ctx, &call{kind: frame.Ping, body: []byte("}"), resend: true})
}

// fail ends the client with err unless it has ended already: every call and every
// subscription gets its outcome now.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.cur = nil
	for _, l := range []*callList{&c.urgent, &c.orders, &c.submits} {
		for !l.empty() {
			k := l.head
			l.remove(k)
			k.finishLocked(k.outcome(err))
		}
	}
	for cn := range c.conns {
		for id, k := range cn.calls {
			delete(cn.calls, id)
			k.finishLocked(k.outcome(err))
		}
	}
	for _, s := range c.subs {
		c.endSubLocked(s, err)
	}
	if c.mine != nil {
		c.failMineLocked(c.mine, err)
	}
	c.failListsLocked(err)
	c.dirty, c.unsubs = nil, nil
}

// install makes cn the connection in use: queued requests are sent there, and every subscription is renewed there
// from the last version seen.
func (c *Client) install(cn *conn) {
	c.mu.Lock()
	c.conns[cn] = struct{}{}
	c.stats.Connects++
	if c.err == nil {
		c.cur = cn
		c.unsubs = nil // the new session watches nothing yet
		clear(c.parted)
		c.dirty = c.dirty[:0]
		for _, s := range c.subs {
			s.dirty = true
			c.dirty = append(c.dirty, s)
		}
		c.moveMineLocked(nil)
		c.moveListsLocked(nil)
	}
	c.mu.Unlock()
	c.wg.Go(cn.readLoop)
	c.wg.Go(cn.writeLoop)
}

// settle cleans up after a connection that has ended: those of its unanswered calls that are safe to repeat go back
// to the front of their queues, in order; the others end with cause, or with an IndeterminateError around it. Called
// by cn's reader when its writer has ended.
func (c *Client) settle(cn *conn, cause error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, cn)
	if c.cur == cn {
		c.cur = nil
	}
	c.moveMineLocked(cn)
	c.moveListsLocked(cn)
	cn.stopTimersLocked()
	for _, k := range cn.takeCallsLocked() { // newest first
		switch {
		case k.abandoned:
		case k.resend && c.err == nil:
			c.queueOf(k).pushFront(k)
			c.stats.Resends++
		default:
			k.finishLocked(k.outcome(cause))
		}
	}
	cn.batches = nil
	c.wakeLocked() // another connection may be in use already
}

// wakeLocked tells the writer of the connection in use that there may be work.
func (c *Client) wakeLocked() {
	if c.cur == nil {
		return
	}
	signal(c.cur.wake)
}

// Job returns a handle for a job by its ID, whichever client of the tenant submitted it. It sends nothing to the
// server: whether there is such a job shows with the first method that is called.
func (c *Client) Job(id string) *Job { return newJob(c, id) }

// List reads one page of the tenant's jobs (GET /v1/jobs), newest first. A job that was acked by the same gateway is
// in it. An option that the server refuses is an *Error with the code invalid_frame, whose detail names it.
func (c *Client) List(ctx context.Context, o ListOptions) (Page, error) { return c.api.list(ctx, o) }

// All lists jobs page after page, from o.Cursor on; o.Limit is the size of a page. The sequence ends after the last
// job, or with an error as its last element.
func (c *Client) All(ctx context.Context, o ListOptions) iter.Seq2[Status, error] {
	return c.api.all(ctx, o)
}

// Stats returns the number of the tenant's jobs by type, lane and state, and the number of workers and waiting
// requests of each lane (GET /v1/stats). With options only some jobs are counted; the lanes are the same.
func (c *Client) Stats(ctx context.Context, opts ...StatsOption) (frame.Stats, error) {
	return c.api.stats(ctx, opts)
}

// JobTypes returns the job types with their rules and JSON Schemas, sorted by name. A client with a grant for some
// types is told only those. A job keeps the rules with which it was submitted.
func (c *Client) JobTypes(ctx context.Context) ([]frame.JobType, error) { return c.api.jobTypes(ctx) }

// Grant asks the server for a grant of what this client may do itself (POST /v1/grants): of its permissions, and when
// it has a grant itself of that one's jobs and for no longer than that. The error is an *Error if the server refuses,
// with the code forbidden for what this client may not do.
func (c *Client) Grant(ctx context.Context, r GrantRequest) (Grant, error) {
	return c.api.grant(ctx, r)
}

// rest implements transport.
func (c *Client) rest() *rest { return c.api }
