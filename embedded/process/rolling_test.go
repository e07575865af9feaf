package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// balancer is a load balancer of layer 4 without the hop: each connection goes to the next
// gateway that takes it.
type balancer struct {
	gateways []string
	turn     atomic.Uint64
}

func (b *balancer) dial(ctx context.Context, network, _ string) (c net.Conn, err error) {
	first := b.turn.Add(1)
	for i := range b.gateways {
		if c, err = new(net.Dialer).DialContext(ctx, network,
			b.gateways[(first+uint64(i))%uint64(len(b.gateways))]); err == nil {
			return c, nil
		}
	}
	return nil, err
}

// behindIt is an address whose host says that it is this machine.
const behindIt = "http://localhost"

// deployment counts what clients met while gateways were restarted.
type deployment struct {
	t     *testing.T
	ctx   context.Context
	lb    *balancer
	until time.Time

	mu       sync.Mutex        // guards all below
	acked    map[string]string // by job ID: how it was submitted
	refused  map[code.Code]int // documented answers, each followed by another try
	unknown  int               // submits without a key whose outcome is not known
	cut      int               // HTTP connections that ended before their answer
	streams  int               // event streams that ended, and were opened again
	ended    int               // jobs whose submitter received their end
	longest  time.Duration     // from a submit to its ack, tries together
	failures []string
}

func (d *deployment) fail(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures = append(d.failures, fmt.Sprintf(format, args...))
}

// again reports whether an error is one after which clients are to try again, and counts it.
func (d *deployment) again(err error) bool {
	var e *ackwire.Error
	if !errors.As(err, &e) || !e.Retryable {
		return false
	}
	d.mu.Lock()
	d.refused[e.Code]++
	d.mu.Unlock()
	pause.For(d.ctx, e.RetryDelay())
	return d.ctx.Err() == nil
}

// paced calls do rate times a second until the deployment is over, and waits for all calls.
func (d *deployment) paced(rate float64, do func(i int)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for i := 0; time.Now().Before(d.until); i++ {
		wg.Go(func() { do(i) })
		<-tick.C
	}
}

func (d *deployment) took(j, how string, since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.acked[j] = how
	d.longest = max(d.longest, time.Since(since))
}

// overSockets submits and watches every job to its end, with and without a key.
func (d *deployment) overSockets(name string, rate float64) {
	c, err := ackwire.Dial(d.ctx, behindIt, ackwire.WithDialContext(d.lb.dial), ackwire.WithRetryDial())
	if err != nil {
		d.fail("%s: dial: %v", name, err)
		return
	}
	defer c.Close()
	d.paced(rate, func(i int) {
		payload, began := json.RawMessage(fmt.Sprint(i)), time.Now()
		opts, keyed := []ackwire.SubmitOption{ackwire.NoKey()}, i%2 == 0
		if keyed {
			opts = append(opts, ackwire.Key(fmt.Sprint(name, i)))
		}
		j, err := c.Submit(d.ctx, "demo.echo", payload, opts...)
		for err != nil && d.again(err) {
			j, err = c.Submit(d.ctx, "demo.echo", payload, opts...)
		}
		if err != nil {
			if !keyed && errors.Is(err, ackwire.ErrIndeterminate) {
				d.mu.Lock()
				d.unknown++
				d.mu.Unlock()
				return
			}
			d.fail("%s: submit %d: %v", name, i, err)
			return
		}
		d.took(j.ID, name, began)
		var last ackwire.Status
		for s, err := range j.Watch(d.ctx) {
			if err != nil || s.Version <= last.Version || last.State.Terminal() {
				d.fail("%s: job %s: version %d %s after %d %s, %v", name, j.ID, s.Version, s.State, last.Version, last.State, err)
				return
			}
			last = s
		}
		if last.State != job.Completed {
			d.fail("%s: job %s was seen last as %s", name, j.ID, last.State)
			return
		}
		d.mu.Lock()
		d.ended++
		d.mu.Unlock()
	})
	s := c.ConnStats()
	if s.Goaways == 0 || s.Connects < 2 {
		d.fail("%s: %d goaways and %d connections: the test proves nothing", name, s.Goaways, s.Connects)
	}
}

// overHTTP submits with a key, over connections that are used again.
func (d *deployment) overHTTP(name string, rate float64) {
	transport := &http.Transport{DialContext: d.lb.dial, MaxIdleConnsPerHost: 16}
	defer transport.CloseIdleConnections()
	d.paced(rate, func(i int) {
		began := time.Now()
		for d.ctx.Err() == nil {
			r, err := http.NewRequestWithContext(d.ctx, "POST", behindIt+"/v1/jobs",
				strings.NewReader(fmt.Sprintf(`{"job":"demo.echo","payload":%d}`, i)))
			if err != nil {
				d.fail("%s: %v", name, err)
				return
			}
			r.Header = http.Header{
				"Content-Type": {"application/json"}, "Idempotency-Key": {fmt.Sprintf("%q", fmt.Sprint(name, i))},
			}
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				d.mu.Lock()
				d.cut++
				d.mu.Unlock()
				continue
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			var ack frame.AckFrame
			var p frame.Problem
			switch {
			case err != nil:
				d.fail("%s: an answer without its end: %v", name, err)
			case resp.StatusCode == http.StatusAccepted && json.Unmarshal(b, &ack) == nil:
				d.took(ack.JobID, name, began)
			case json.Unmarshal(b, &p) == nil && d.again(&ackwire.Error{Problem: p}):
				continue
			default:
				d.fail("%s: %d %s", name, resp.StatusCode, b)
			}
			return
		}
	})
}

// overEvents follows one long job after the other through event streams, as a browser does:
// it comes back after what it was told, with the last ID that it has seen.
func (d *deployment) overEvents(name string) {
	hc := &http.Client{Transport: &http.Transport{DialContext: d.lb.dial, DisableKeepAlives: true}}
	for i := 0; time.Now().Before(d.until); i++ {
		id, ok := d.longJob(fmt.Sprint(name, " ", i))
		if !ok {
			return
		}
		d.took(id, name, time.Now())
		last, retry := int64(0), time.Second
		var state job.State
		for !state.Terminal() && d.ctx.Err() == nil {
			if last > 0 {
				d.mu.Lock()
				d.streams++
				d.mu.Unlock()
				pause.For(d.ctx, retry)
			}
			var err error
			if last, state, retry, err = follow(d.ctx, hc, id, last, state); err != nil {
				d.fail("%s: %v", name, err)
				return
			}
		}
		if state != job.Completed {
			d.fail("%s: job %s was seen last as %s", name, id, state)
			return
		}
		d.mu.Lock()
		d.ended++
		d.mu.Unlock()
	}
}

func (d *deployment) longJob(key string) (string, bool) {
	c, err := ackwire.Dial(d.ctx, behindIt, ackwire.WithDialContext(d.lb.dial), ackwire.WithRetryDial())
	if err != nil {
		d.fail("dial: %v", err)
		return "", false
	}
	defer c.Close()
	for {
		j, err := c.Submit(d.ctx, "demo.sleep", json.RawMessage(`{"seconds":3,"steps":20}`), ackwire.Key(key),
			ackwire.NoWatch())
		switch {
		case err == nil:
			return j.ID, true
		case !d.again(err):
			d.fail("submit: %v", err)
			return "", false
		}
	}
}

// follow reads one event stream to its end.
func follow(
	ctx context.Context, hc *http.Client, id string, last int64, state job.State,
) (int64, job.State, time.Duration, error) {
	retry := time.Second
	r, err := http.NewRequestWithContext(ctx, "GET", behindIt+"/v1/jobs/"+id+"/events", nil)
	if err != nil {
		return last, state, retry, err
	}
	if last > 0 {
		r.Header.Set("Last-Event-ID", strconv.FormatInt(last, 10))
	}
	resp, err := hc.Do(r)
	if err != nil {
		return last, state, retry, nil // a browser comes back
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable {
		return last, state, retry, nil
	}
	if resp.StatusCode != http.StatusOK {
		return last, state, retry, fmt.Errorf("event stream of %s after %d: %s", id, last, resp.Status)
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
		switch string(field) {
		case "retry":
			ms, err := strconv.Atoi(string(value))
			if err != nil {
				return last, state, retry, err
			}
			retry = time.Duration(ms) * time.Millisecond
		case "id":
			version, err := strconv.ParseInt(string(value), 10, 64)
			if err != nil || version <= last || state.Terminal() {
				return last, state, retry, fmt.Errorf("job %s: id %s after %d %s", id, value, last, state)
			}
			last = version
		case "data":
			var doc job.Document
			if err := json.Unmarshal(value, &doc); err != nil {
				return last, state, retry, fmt.Errorf("job %s: %w in %s", id, err, value)
			}
			if doc.JobID != "" { // not of goaway
				state = doc.State
			}
		}
	}
	return last, state, retry, nil
}

// TestARollingRestartOfGateways: two gateways are deployed in turn under load, sockets, HTTP
// and event streams. Nothing acked is lost, every client receives the ends of its jobs, and the
// errors that clients meet are documented ones. ACKWIRE_LONG makes it 500 submits per second
// for half a minute.
func TestARollingRestartOfGateways(t *testing.T) {
	rate, lasts := 150.0, 9*time.Second
	if os.Getenv("ACKWIRE_LONG") != "" {
		rate, lasts = 500, 30*time.Second
	}
	a := addrs(t, 8)
	start(t, "ackwire", a[1], serveArgs(t.TempDir(), a)...)
	d := &deployment{
		t: t, lb: &balancer{gateways: []string{a[4], a[6]}}, acked: map[string]string{},
		refused: map[code.Code]int{},
	}
	var gateways []*proc
	for i := 4; i < 8; i += 2 {
		gateways = append(gateways, start(t, "gateway", a[i+1], "--kafka", a[3], "--listen", a[i], "--ops-listen", a[i+1],
			"--anonymous-tenant", "local"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	defer cancel()
	d.ctx, d.until = ctx, time.Now().Add(lasts)
	var clients sync.WaitGroup
	const sockets, posters, followers = 6, 2, 5
	for i := range sockets {
		clients.Go(func() { d.overSockets(fmt.Sprint("socket ", i), 0.8*rate/sockets) })
	}
	for i := range posters {
		clients.Go(func() { d.overHTTP(fmt.Sprint("HTTP ", i), 0.2*rate/posters) })
	}
	for i := range followers {
		clients.Go(func() { d.overEvents(fmt.Sprint("events ", i)) })
	}
	restarts := 0
	for ; time.Now().Before(d.until); restarts++ {
		pause.For(ctx, time.Second)
		g := gateways[restarts%2]
		g.signal(syscall.SIGTERM)
		if err := g.cmd.Wait(); err != nil {
			t.Errorf("restart %d: the gateway ended with %v", restarts, err)
		}
		g.start()
		g.waitReady()
	}
	clients.Wait()
	for _, f := range d.failures[:min(20, len(d.failures))] {
		t.Error(f)
	}
	lost := 0
	for id, how := range d.acked {
		var s ackwire.Status
		for end := time.Now().Add(startWithin); !s.State.Terminal() && time.Now().Before(end); {
			var err error
			if s, err = getJob(ctx, "http://"+a[0], id); err != nil {
				t.Errorf("%s: get %s: %v", how, id, err)
				break
			}
		}
		if s.State != job.Completed {
			lost++
		}
	}
	if lost > 0 || restarts < 2 || d.streams == 0 || d.unknown > restarts {
		t.Errorf("%d acked jobs did not complete, %d restarts, %d event streams came back, the outcome of %d submits is "+
			"not known", lost, restarts, d.streams, d.unknown)
	}
	t.Logf("%d jobs acked and completed through %d restarts, %d watched to their end; refused and tried again: %v; "+
		"outcomes not known: %d; HTTP requests cut: %d; event streams that came back: %d; the slowest ack: %s",
		len(d.acked), restarts, d.ended, d.refused, d.unknown, d.cut, d.streams, d.longest.Round(time.Millisecond))
}
