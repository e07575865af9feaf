package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestAStormOfReconnects: all come at once, and come back when they are told to. Each is let in
// within the time that the rate allows for all of them and a little, nobody is refused again
// and again, and who is connected waits for nobody. (It is the rate that is tested here, not
// the machine: loadtest bench storm is.)
func TestAStormOfReconnects(t *testing.T) {
	const rate, clients = 100, 1000
	inWorld(t, func(c *Config) { c.HandshakeRate = rate }, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		calm := w.dial("")
		time.Sleep(time.Second) // the burst is whole again
		began := time.Now()
		var (
			mu      sync.Mutex // guards all below
			last    time.Duration
			most    int
			refused int
			apart   = map[time.Duration]bool{} // when they were told to come back
		)
		var all sync.WaitGroup
		open := make([]*client, clients)
		for i := range clients {
			all.Go(func() {
				time.Sleep(time.Duration(rand.Int64N(int64(2 * time.Second))))
				for tries := 0; ; tries++ {
					c, r, err := w.dialRaw(dialOptions{})
					if err == nil {
						mu.Lock()
						last, most, open[i] = max(last, time.Since(began)), max(most, tries), c
						mu.Unlock()
						return
					}
					var p frame.Problem
					b, _ := io.ReadAll(r.Body)
					if r.StatusCode != http.StatusServiceUnavailable || json.Unmarshal(b, &p) != nil || p.Code != "overloaded" ||
						p.RetryAfter < 1 || p.RetryAfter > 3 || r.Header.Get("Retry-After") == "" {
						t.Errorf("client %d: %d %v %s", i, r.StatusCode, r.Header, b)
						return
					}
					after := time.Duration(p.RetryAfter * float64(time.Second))
					mu.Lock()
					apart[time.Since(began)+after], refused = true, refused+1
					mu.Unlock()
					time.Sleep(after)
				}
			})
		}
		for range 5 {
			asked := time.Now()
			calm.wantAlive("who is connected, in the midst of it")
			if took := time.Since(asked); took > 100*time.Millisecond {
				t.Errorf("it was answered after %s", took)
			}
			time.Sleep(500 * time.Millisecond)
		}
		all.Wait()
		if most > 12 || last > 2*clients/rate*time.Second {
			t.Errorf("the last of %d was let in after %s, and one at its try %d", clients, last, most+1)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "handshake_rate"); n == 0 || int(n) != refused ||
			len(apart) < refused/2 {
			t.Errorf("%v were turned away, %d saw it, at %d times they were to come back", n, refused, len(apart))
		}
		for i, c := range open {
			c.want("welcome", frame.Welcome)
			c.send(`{"type":"subscribe","id":"s","jobs":[{"jobId":%q}]}`, jobA)
			if g := c.want("subscribed", frame.Subscribed); g.ID != "s" {
				t.Fatalf("client %d: %s", i, g.raw)
			}
			c.want("the state now", frame.Status)
		}
		t.Logf("%d clients were let in within %s; %d refusals, %d of one client at most", clients, last, refused, most)
	})
}

// TestEventStreamsTakeTurnsToo, and what waits for its turn when the gateway stops is told so.
func TestEventStreamsTakeTurnsToo(t *testing.T) {
	inWorld(t, func(c *Config) { c.HandshakeRate = 1 }, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 5, job.Processing)
		path := fmt.Sprintf("/v1/jobs/%s/events", jobA)
		w.stream(path, nil).next()
		began := time.Now()
		w.stream(path, nil).next()
		if took := time.Since(began); took < 900*time.Millisecond || took > 1100*time.Millisecond {
			t.Errorf("the second one waited %s", took)
		}
		answered := make(chan answer, 1)
		go func() { answered <- w.http("GET", path, nil, nil) }()
		time.Sleep(100 * time.Millisecond)
		if a := w.http("GET", path, nil, nil); a.status != http.StatusServiceUnavailable || a.code != "overloaded" ||
			a.header.Get("Retry-After") == "" {
			t.Errorf("who would wait for longer: %d %s", a.status, a.body)
		}
		w.stop()
		if a := <-answered; a.status != http.StatusServiceUnavailable || a.code != "overloaded" {
			t.Errorf("who waits when the gateway stops: %d %s", a.status, a.body)
		}
	})
}
