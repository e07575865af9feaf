package load

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/wake"
	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/measure"
)

// run is one run.
//
// Goroutines: one for each client, which connects and reads; a writer for each socket while something waits to be
// written; the dispatcher, on the caller's goroutine; a few for scheduled events, reads and waits. All end before Run
// returns.
type run struct {
	// Set before anything runs, then only read.
	cfg     Config
	ctx     context.Context // ends when the run ends or is stopped
	fail    context.CancelCauseFunc
	rec     *measure.Recorder
	hist    *history.Writer
	kinds   []kind
	clients []*client
	getter  *http.Client
	awake   chan struct{} // closed when slow clients read again
	keys    string

	wg   sync.WaitGroup // all goroutines
	jobs openJobs
	room wake.Signal   // a client may have room
	gets chan struct{} // maxGets places: reads on their way

	getTurn    atomic.Int64
	streams    atomic.Int64 // event streams that go on
	streamed   atomic.Int64 // and how many there were
	keyed      atomic.Int64
	lastFault  atomic.Int64 // Unix nanoseconds, as are the next
	lastHeard  atomic.Int64
	lastEnd    atomic.Int64
	lastAnswer atomic.Int64

	mu     sync.Mutex // guards random
	random *rand.Rand
}

// Run runs the scenario and checks its history. rec may be read meanwhile. When ctx ends, the run is stopped: the
// history up to then is checked, but not for what should have come later.
func Run(ctx context.Context, cfg Config, rec *measure.Recorder) (*measure.Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := cfg.Scenario
	hist, err := history.Create(cfg.History, s.Name, s.EndsWithin, s.DeliverWithin)
	if err != nil {
		return nil, err
	}
	r := &run{
		cfg: cfg, rec: rec, hist: hist, awake: make(chan struct{}),
		room: wake.New(), gets: make(chan struct{}, maxGets),
		jobs: openJobs{jobs: map[string]*openJob{}}, random: rand.New(rand.NewPCG(s.Seed, 3)),
		keys: fmt.Sprintf("loadtest-%x", rand.Uint64()),
	}
	r.ctx, r.fail = context.WithCancelCause(ctx)
	for _, j := range s.Jobs {
		r.kinds = append(r.kinds, newKind(j))
	}
	closeIdle := r.network()
	err = r.through()
	brokenOff := r.ctx.Err() != nil
	if !brokenOff {
		hist.Add(history.Record{Kind: history.End})
	}
	r.fail(nil)
	r.wg.Wait()
	closeIdle()
	if cerr := hist.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	out := rec.Result(cfg.URLs, cfg.Embedded, brokenOff)
	if out.Verdict, err = history.Check(cfg.History); err != nil {
		return nil, err
	}
	return out, nil
}

// through is the run from the first connect to the last read. After an error the run is of no use.
func (r *run) through() error {
	s := r.cfg.Scenario
	r.rec.Stage("connecting", -1)
	for i, c := range r.clients {
		delay := s.ConnectOver * time.Duration(i) / time.Duration(len(r.clients))
		r.wg.Go(func() { c.run(r.ctx, delay) })
	}
	if err := r.connected(); err != nil {
		return err
	}
	r.wg.Go(func() { r.sweep(r.ctx) })
	r.wg.Go(func() {
		for pause.For(r.ctx, r.rec.Interval()) {
			r.rec.Tick()
		}
	})
	began := time.Now()
	r.rec.Begin()
	r.wg.Go(func() { r.stage(r.ctx, began) })
	d := &dispatcher{r: r, schedule: newSchedule(s), mix: newMix(s)}
	d.run(r.ctx, began)
	pause.For(r.ctx, time.Until(began.Add(s.Duration())))
	if r.ctx.Err() == nil {
		r.settle(r.ctx, d)
	}
	var err error
	if r.ctx.Err() == nil {
		err = r.verify(r.ctx)
	}
	r.rec.Tick()
	if cause := context.Cause(r.ctx); err == nil && isRefusal(cause) {
		err = cause
	}
	return err
}

// connected waits until all sockets are open, or goes on with those that are open after connectGrace.
func (r *run) connected() error {
	ctx, cancel := context.WithTimeout(r.ctx, r.cfg.Scenario.ConnectOver+connectGrace)
	defer cancel()
	open := func() int64 { return r.rec.Snapshot(0).Counts.Sockets }
	r.until(ctx, func() bool { return open() == int64(len(r.clients)) })
	if cause := context.Cause(r.ctx); cause != nil {
		if isRefusal(cause) {
			return cause
		}
		return nil // stopped: the history so far is checked
	}
	if open() == 0 {
		return fmt.Errorf("no client could connect to %v: %v", r.cfg.URLs, r.rec.Snapshot(0).Errors)
	}
	return nil
}

// network makes the HTTP clients. Their buffers are small, for each socket has its own.
func (r *run) network() (closeIdle func()) {
	s := r.cfg.Scenario
	transport := func(dial Dial) *http.Transport {
		return &http.Transport{
			DialContext: dial, TLSHandshakeTimeout: handshakeTimeout,
			MaxIdleConnsPerHost: maxGets, IdleConnTimeout: time.Minute,
			ReadBufferSize: 1 << 10, WriteBufferSize: 1 << 10,
		}
	}
	var all []*http.Transport
	add := func(dial Dial) *http.Client {
		t := transport(dial)
		all = append(all, t)
		return &http.Client{Transport: t}
	}
	r.getter = add(r.cfg.Dials[0])
	var plain []*http.Client
	for _, d := range r.cfg.Dials {
		plain = append(plain, add(d))
	}
	for i := range s.Sockets {
		c := newClient(r, i+1, i < s.Slow.Sockets, plain[i%len(plain)])
		c.mine = i >= s.Sockets-s.MineSockets()
		if c.slow {
			dial := r.cfg.Dials[i%len(r.cfg.Dials)]
			c.http = add(func(ctx context.Context, network, address string) (net.Conn, error) {
				nc, err := dial(ctx, network, address)
				if err != nil {
					return nil, err
				}
				return c.slowly(newSlowConn(nc, s.Slow.BytesPerSecond, r.awake)), nil
			})
		}
		r.clients = append(r.clients, c)
	}
	return func() {
		for _, t := range all {
			t.CloseIdleConnections()
		}
	}
}

// gateway returns the URL of the gateway for the number i, in turn.
func (r *run) gateway(i int) string { return r.cfg.URLs[i%len(r.cfg.URLs)] }

func (r *run) token(client int) (string, error) {
	if r.cfg.Token == nil {
		return "", nil
	}
	return r.cfg.Token(client)
}

// refusedRun is the error of a run whose clients the server refuses for good.
type refusedRun struct{ error }

func isRefusal(err error) bool {
	_, is := err.(refusedRun)
	return is
}

// refused ends the run: when one client's token or address is refused for good, others' will be, too.
func (r *run) refused(c *client, err error) {
	r.fail(refusedRun{fmt.Errorf("client %d: %w", c.id, err)})
}

func (r *run) written(a *arrival) {
	r.rec.Sent(a.of, time.Since(a.due), a.waited || a.sends > 1)
}

func (r *run) heard(now time.Time) { r.lastHeard.Store(now.UnixNano()) }

func (r *run) chance(share float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.random.Float64() < share
}
