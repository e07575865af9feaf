package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// client is one user: it reconnects after each loss of its socket and subscribes again from the last version that it
// has seen. Its goroutine connects and reads; the socket writes.
type client struct {
	// Set before run, then only read.
	r    *run
	id   int // from 1
	slow bool
	mine bool         // its sockets follow all jobs of its subject, too
	http *http.Client // for handshakes

	// Owned by run, and by the frames that it reads.
	buf bytes.Buffer

	mu       sync.Mutex // guards all below; only sockets' and the recorder's locks are taken under it
	sock     *socket    // nil while there is none
	conn     int        // counts the sockets, from 1
	room     int        // submits that may be in flight on this socket
	leaving  bool       // the server has sent goaway: nothing new is sent
	cut      bool       // the scenario has cut the socket
	rejoin   time.Time  // it must not reconnect before
	seq      uint64     // of frames' IDs
	inFlight map[string]*arrival
	watches  map[string]*watching // jobs whose end was not seen
	outputs  map[string]*output   // by job: those whose end was not seen
	asking   map[string][]ref     // subscribe frames that were not answered
	resend   []*arrival           // submits with a key whose answer was lost
	dialled  time.Time            // when the current socket was dialled
	wire     *slowConn            // under the socket of a slow client
	all      string               // ID of the subscribe frame for all jobs that was not answered
	cursor   string               // of its subscription to all jobs
	streamed string               // a job that an event stream follows, which the next stream is to follow, too; or ""
}

// watching is a job that a client follows.
type watching struct {
	after int64    // the last version seen
	of    *arrival // of its submitter; nil if another client has submitted the job
	fan   *fan     // shared by the clients that watch the job together; nil for a single one
}

// fan records when the first of a job's watchers saw its end.
type fan struct {
	mu    sync.Mutex // guards first
	first time.Time
}

// since returns how long after the first this one is; false for the first.
func (f *fan) since(t time.Time) (time.Duration, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.first.IsZero() {
		f.first = t
		return 0, false
	}
	return t.Sub(f.first), true
}

func newClient(r *run, id int, slow bool, hc *http.Client) *client {
	return &client{
		r: r, id: id, slow: slow, http: hc,
		inFlight: map[string]*arrival{}, watches: map[string]*watching{}, outputs: map[string]*output{},
		asking: map[string][]ref{},
	}
}

// run connects after delay, and again after each loss, until ctx ends or the server refuses
// for good.
func (c *client) run(ctx context.Context, delay time.Duration) {
	failures := 0
	for {
		if !pause.For(ctx, delay) {
			return
		}
		s, err := c.connect(ctx)
		switch {
		case ctx.Err() != nil:
			if s != nil {
				s.close()
			}
			return
		case err != nil:
			if e, ok := errors.AsType[*refusal](err); ok && e.permanent() {
				c.r.refused(c, err)
				return
			}
			delay = c.failed(err, failures)
			failures++
			continue
		}
		failures = 0
		err = c.serve(ctx, s)
		back := c.lost(s, err)
		if !back {
			return
		}
		c.mu.Lock()
		delay = time.Until(c.rejoin)
		c.mu.Unlock()
		if delay <= 0 {
			delay = backoff(0)
		}
	}
}

// backoff returns a random wait after that many failures in a row, with full jitter.
func backoff(failures int) time.Duration {
	ceiling := backoffBase
	for ; failures > 0 && ceiling < backoffCap; failures-- {
		ceiling *= 2
	}
	return time.Duration(rand.Int64N(int64(min(ceiling, backoffCap)) + 1))
}

func (c *client) failed(err error, failures int) time.Duration {
	atLeast := time.Duration(0)
	if e, ok := errors.AsType[*refusal](err); ok {
		atLeast = seconds(e.RetryAfter)
		c.r.rec.Error(fmt.Sprintf("connect: HTTP %d %s", e.status, e.Code))
	} else {
		c.r.rec.Error("connect: no answer")
	}
	if descriptors, ports := exhausted(err); descriptors || ports {
		c.r.rec.Exhausted(descriptors)
	}
	c.r.fault("connect of client %d: %v", c.id, err)
	c.r.cfg.Log.Debug("connect", "client", c.id, "err", err)
	return atLeast + backoff(failures)
}

// connect opens the next socket. It goes through the gateways in turn, so that one which is down is skipped.
func (c *client) connect(ctx context.Context) (*socket, error) {
	token, err := c.r.token(c.id)
	if err != nil {
		return nil, &refusal{status: http.StatusUnauthorized}
	}
	c.mu.Lock()
	c.conn++
	n := c.conn
	c.dialled = time.Now()
	c.mu.Unlock()
	s, err := dial(ctx, c.http, c.r.gateway(c.id+n)+"/v1/ws", token, &c.r.wg, c.r.written)
	if err != nil {
		return nil, err
	}
	c.r.rec.Took(measure.Connect, time.Since(c.dialled))
	return s, nil
}

// serve uses s and reads it to its end.
func (c *client) serve(ctx context.Context, s *socket) error {
	stop := context.AfterFunc(ctx, s.close)
	defer stop()
	c.r.hist.Add(history.Record{Kind: history.Open, Client: c.id, Conn: c.conn})
	c.r.rec.Count(func(n *measure.Counts) { n.Connects++; n.Sockets++ })
	c.mu.Lock()
	c.sock = s
	c.leaving = false
	c.cut = false
	c.rejoin = time.Time{}
	if c.wire != nil {
		c.wire.throttle()
	}
	c.room = s.welcome.Limits.InFlightSubmits
	if c.room <= 0 {
		c.room = maxInFlight
	}
	refs := make([]ref, 0, len(c.watches))
	for id := range c.watches {
		refs = append(refs, ref{jobID: id})
	}
	for id := range c.outputs {
		if c.watches[id] == nil { // its end was seen, and not that of what it writes
			refs = append(refs, ref{jobID: id})
		}
	}
	c.ask(refs)
	c.askMine() // after the watches: each version comes once in whatever order they are asked for
	again := c.resend
	c.resend = nil
	for _, a := range again {
		c.write(a)
	}
	c.mu.Unlock()
	c.r.room.Send()
	for {
		if err := s.read(&c.buf); err != nil {
			return err
		}
		now := time.Now()
		if f := c.r.cfg.faults; f != nil {
			for _, b := range f.fromServer(c.id, bytes.Clone(c.buf.Bytes())) {
				c.handle(b, now)
			}
			continue
		}
		c.handle(c.buf.Bytes(), now)
	}
}

// lost cleans up after a socket has ended. Submits with a key wait for the next socket; the outcome of others stays
// unknown. It reports whether the client may reconnect.
func (c *client) lost(s *socket, err error) (back bool) {
	s.close()
	why, back := cause(err)
	c.mu.Lock()
	asked := c.cut || c.leaving
	c.sock = nil
	gone, unanswered := len(c.inFlight), 0
	for id, a := range c.inFlight {
		delete(c.inFlight, id)
		if a.key == "" || !back {
			unanswered++
		} else {
			c.resend = append(c.resend, a)
		}
	}
	clear(c.asking)
	if c.cut {
		why = "cut by the scenario"
	}
	c.mu.Unlock()
	c.r.hist.Add(history.Record{Kind: history.Close, Client: c.id, Conn: c.conn, Text: why})
	c.r.rec.Count(func(n *measure.Counts) {
		n.Sockets--
		n.InFlight -= int64(gone)
		n.Unanswered += int64(unanswered)
	})
	if !asked && c.r.ctx.Err() == nil {
		c.r.rec.Lost(why)
		c.r.fault("client %d lost its socket: %s", c.id, why)
	}
	return back
}

// cutOff closes the socket without a close frame, as when the network fails, and lets the client reconnect at rejoin.
func (c *client) cutOff(rejoin time.Time) {
	c.mu.Lock()
	s := c.sock
	if s != nil {
		c.cut, c.rejoin = true, rejoin
	}
	c.mu.Unlock()
	if s != nil {
		c.r.rec.Count(func(n *measure.Counts) { n.Cut++ })
		s.close()
	}
}

// submit sends an arrival if the client has a socket with room.
func (c *client) submit(a *arrival) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sock == nil || c.leaving || len(c.inFlight) >= c.room {
		return false
	}
	c.write(a)
	return true
}

// write sends an arrival. c.mu is held, and there is a socket.
func (c *client) write(a *arrival) {
	k := &c.r.kinds[a.of.Job]
	a.of.Slow = c.slow
	a.sends++
	if k.Key && a.key == "" {
		a.key = c.r.key()
	}
	id := c.nextID()
	c.inFlight[id] = a
	c.r.rec.Count(func(n *measure.Counts) { n.InFlight++; n.Sent++ })
	c.send(k.frame(id, a), a)
}

// send queues a frame. c.mu is held.
func (c *client) send(b []byte, a *arrival) {
	if f := c.r.cfg.faults; f != nil {
		if answer, swallow := f.toServer(c.id, b); swallow {
			c.r.wg.Go(func() { c.handle(answer, time.Now()) })
			return
		}
	}
	c.sock.send(b, a)
}

func (c *client) nextID() string {
	c.seq++
	return strconv.FormatUint(c.seq, 36)
}

// ask subscribes to jobs, in frames of batchJobs, each from where the client is. c.mu is held, and there is a socket.
// Records are added before the frame is sent, so that they are in the history before the answer.
func (c *client) ask(refs []ref) {
	for len(refs) > 0 {
		batch := refs[:min(len(refs), batchJobs)]
		refs = refs[len(batch):]
		for i := range batch {
			c.resume(&batch[i])
		}
		id := c.nextID()
		c.asking[id] = batch
		c.send(subscribeFrame(id, batch), nil)
	}
}

// askMine subscribes to all jobs of the client's subject. c.mu is held, and there is a socket.
func (c *client) askMine() {
	if !c.mine {
		return
	}
	c.r.hist.Add(history.Record{Kind: history.Watch, Client: c.id, Conn: c.conn})
	c.all = c.nextID()
	c.send(mineFrame(c.all, c.cursor), nil)
}

// watch follows a job that another client submitted, and what it writes unless o is nil.
func (c *client) watch(jobID string, f *fan, o *output) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watches[jobID] = &watching{fan: f}
	if o != nil {
		c.outputs[jobID] = o
	}
	if c.sock != nil && !c.leaving {
		c.ask([]ref{{jobID: jobID}})
	}
}

// askLater subscribes to jobs again after askAgain, unless another socket has done so by then.
func (c *client) askLater(conn int, refs []ref) {
	c.later(conn, func() {
		still := refs[:0]
		for _, r := range refs {
			if c.watches[r.jobID] != nil || c.outputs[r.jobID] != nil {
				still = append(still, r)
			}
		}
		c.ask(still)
	})
}

// later calls ask after askAgain, with c.mu held, unless the client has another socket by then.
func (c *client) later(conn int, ask func()) {
	c.r.wg.Go(func() {
		if !pause.For(c.r.ctx, askAgain+backoff(3)) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.sock != nil && c.conn == conn {
			ask()
		}
	})
}

// waiting returns the number of watched jobs, and of outputs, whose end the client has not seen, and of submits without
// an answer.
func (c *client) waiting() (watches, submits int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watches) + len(c.outputs), len(c.inFlight) + len(c.resend)
}

// slowly keeps the connection under a slow client's next socket, to throttle it once it is
// welcome.
func (c *client) slowly(wire *slowConn) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wire = wire
	return wire
}

// silent closes a socket on which nothing was received for too long. It spares slow clients, which read late.
func (c *client) silent(now time.Time) {
	c.mu.Lock()
	s := c.sock
	c.mu.Unlock()
	if s == nil || c.slow || s.welcome.PingInterval <= 0 {
		return
	}
	if now.UnixNano()-s.seen.Load() > int64(maxQuiet*s.welcome.PingInterval*float64(time.Second)) {
		s.close()
	}
}
