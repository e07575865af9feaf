package processor

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// cable is a worker's network, which a test can cut.
type cable struct {
	mu     sync.Mutex
	pulled bool
	conns  []net.Conn
}

func (c *cable) env(env service.Env) service.Env {
	dial := env.Dial
	env.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pulled {
			return nil, errors.New("network is unreachable")
		}
		conn, err := dial(ctx, network, address)
		if err == nil {
			c.conns = append(c.conns, conn)
		}
		return conn, err
	}
	return env
}

func (c *cable) pull() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

func (c *cable) plug() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = false
}

// A worker that is cut off for longer than its group session loses its partitions to another worker,
// keeps the run whose lease is longer, and takes work again when it can reach Kafka.
func TestWorkerThatWasCutOffComesBack(t *testing.T) {
	inWorld(t, func(w *world) {
		var c cable
		register := handlers(map[string]RawHandler{
			"echo": echo,
			"nap": func(context.Context, *Job, []byte) (json.RawMessage, error) {
				time.Sleep(2 * time.Minute)
				return json.RawMessage(`1`), nil
			},
		})
		first := w.launch(Config{WorkerID: "first"}, c.env(w.env()), register)
		time.Sleep(2 * time.Second)
		long, short := request("long", "nap"), request("short", "nap")
		long.Policy.Lease = job.Seconds(time.Hour)
		w.submit(long, `1`)
		w.submit(short, `1`)
		w.want("running", "long", event.Claimed)
		c.pull()
		time.Sleep(5 * time.Second)
		second := w.launch(Config{WorkerID: "second"}, w.env(), register)
		time.Sleep(40 * time.Second)
		w.answers(grantAll)
		w.submit(request("a", "echo"), `1`)
		if e := w.last("a"); e.Worker != "second" {
			t.Errorf("done by %s", e.Worker)
		}
		c.plug()
		time.Sleep(30 * time.Second)
		if err := first.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		second.stop()
		<-second.done
		w.submit(request("b", "echo"), `1`)
		if e := w.last("b"); e.Worker != "first" {
			t.Errorf("done by %s", e.Worker)
		}
		time.Sleep(2 * time.Minute)
		if e := w.last("long"); e.Type != event.Completed || e.Worker != "first" {
			t.Errorf("the long lease was kept: %+v", e)
		}
		for _, e := range w.events("short") {
			if e.Type == event.Completed || e.Type == event.Failed {
				t.Errorf("the short lease was lost, but: %+v", e.Event)
			}
		}
		if got := w.committed(); got != 4 {
			t.Errorf("committed %d", got)
		}
		first.wantFree()
	})
}

// TestAWorkerThatIsCutOffIsNotReady, even an idle one. It is ready again when Kafka answers.
func TestAWorkerThatIsCutOffIsNotReady(t *testing.T) {
	inWorld(t, func(w *world) {
		var c cable
		worker := w.launch(Config{WorkerID: "first"}, c.env(w.env()), handlers(map[string]RawHandler{"echo": echo}))
		time.Sleep(time.Minute) // nothing happens
		if err := worker.Ready(); err != nil {
			t.Fatalf("at rest: %v", err)
		}
		c.pull()
		time.Sleep(local.Silence + contactEvery + local.Ping)
		if err := worker.Ready(); err == nil || !strings.Contains(err.Error(), "no broker of Kafka has answered for") {
			t.Errorf("it says %v", err)
		}
		c.plug()
		healed := time.Now()
		for worker.Ready() != nil {
			if time.Since(healed) > 30*time.Second {
				t.Fatalf("%s after the way was mended: %v", time.Since(healed), worker.Ready())
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}
