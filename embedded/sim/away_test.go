package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestKafkaIsAwayForHalfAMinute, silent or refusing: submits are answered within their bound,
// sockets stay, and afterwards all goes on. What was acked is there; what was left open can be
// said again.
func TestKafkaIsAwayForHalfAMinute(t *testing.T) {
	for name, away := range map[string]func(*World){
		"silent":   func(w *World) { w.Net.Host("broker").Hang() },
		"refusing": func(w *World) { w.Net.Host("broker").Cut() },
	} {
		t.Run(name, func(t *testing.T) {
			Run(t, func(w *World) {
				w.StartWorker(nil)
				c := w.Dial()
				running := w.Submit(c, "demo.sleep", `{"seconds":40,"steps":40}`)
				acked := []string{running.ID}
				time.Sleep(2 * time.Second)
				away(w)
				var open []string
				for i, began := 0, time.Now(); time.Since(began) < 30*time.Second; i++ {
					asked := time.Now()
					status, _, b := w.HTTP("POST", "/v1/jobs", http.Header{
						"Content-Type": {"application/json"}, "Idempotency-Key": {fmt.Sprint("k", i)},
					},
						fmt.Appendf(nil, `{"job":"demo.echo","payload":%d}`, i))
					var p frame.Problem
					_ = json.Unmarshal(b, &p)
					if took := time.Since(asked); took > 5100*time.Millisecond || status != http.StatusServiceUnavailable ||
						p.Code != code.Unavailable && p.Code != code.Indeterminate {
						t.Errorf("submit %d: %d %s after %s", i, status, b, took)
					}
					open = append(open, fmt.Sprint("k", i))
					time.Sleep(time.Second)
				}
				if err := c.Ping(w.ctx()); err != nil || c.ConnStats().Connects != 1 {
					t.Errorf("the socket did not stay: %v, %+v", err, c.ConnStats())
				}
				w.Net.Host("broker").Heal()
				for i, key := range open {
					j := w.Submit(c, "demo.echo", fmt.Sprint(i), ackwire.Key(key))
					acked = append(acked, j.ID)
				}
				for _, id := range acked {
					if _, err := c.Job(id).Get(w.ctx()); err != nil {
						t.Errorf("acked job %s: %v", id, err)
					}
					var last ackwire.Status // the lease of what ran may have run out: an attempt more
					for s, err := range c.Job(id).Watch(w.ctx()) {
						last = s
						if err != nil {
							t.Errorf("watch of job %s: %v", id, err)
						}
					}
					if last.State != job.Completed {
						t.Errorf("acked job %s ended %s", id, last.State)
					}
				}
				if n := len(w.records(w.Names.Requests("default"))); n < len(acked) {
					t.Errorf("%d requests of %d jobs", n, len(acked))
				}
				if c.ConnStats().Connects != 1 {
					t.Errorf("the socket did not stay: %+v", c.ConnStats())
				}
			})
		})
	}
}

// TestTheTrackerIsAwayForHalfAMinute: reads and subscribes are answered unavailable within
// their bound, submits without a key are acked, and watches resume by themselves.
func TestTheTrackerIsAwayForHalfAMinute(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		running := w.Submit(c, "demo.sleep", `{"seconds":40,"steps":40}`)
		w.CrashTracker()
		var acked []*ackwire.Job
		for began := time.Now(); time.Since(began) < 30*time.Second; {
			asked := time.Now()
			status, _, b := w.HTTP("GET", "/v1/jobs/"+running.ID, nil, nil)
			if took := time.Since(asked); took > 5100*time.Millisecond || status != http.StatusServiceUnavailable {
				t.Errorf("a read: %d %s after %s", status, b, took)
			}
			acked = append(acked, w.Submit(c, "demo.echo", `1`))
			time.Sleep(time.Second)
		}
		w.StartTracker()
		for _, j := range append(acked, running) {
			if s, err := j.Wait(w.ctx()); err != nil || s.State != job.Completed {
				t.Errorf("job %s: %s, %v", j.ID, s.State, err)
			}
		}
		if c.ConnStats().Connects != 1 {
			t.Errorf("the socket did not stay: %+v", c.ConnStats())
		}
	})
}

// TestOneKeyThroughEveryDoor: two gateways, sockets and HTTP, the key bare and quoted, and a
// tracker that dies in the midst of it: one job, one request. Another payload is a conflict.
func TestOneKeyThroughEveryDoor(t *testing.T) {
	Run(t, func(w *World) {
		w.StartGatewayAt(1)
		w.StartWorker(nil)
		c := w.Dial()
		hosts := make([]*http.Client, 2)
		for i := range hosts {
			transport := &http.Transport{DialContext: w.Net.Host(fmt.Sprint("door-", i)).Dial, DisableKeepAlives: true}
			w.T.Cleanup(transport.CloseIdleConnections)
			hosts[i] = &http.Client{Transport: transport}
		}
		var mu sync.Mutex
		ids := map[string]int{}
		note := func(id string) {
			mu.Lock()
			defer mu.Unlock()
			ids[id]++
		}
		overHTTP := func(i int) {
			key := "order-7"
			if i%4 == 1 {
				key = `"order-7"`
			}
			for {
				r, status, p := postOnce(w, hosts[i%2], GatewayURL(i/4%2), key, `{"a":1,"b":2}`)
				switch {
				case status == http.StatusAccepted:
					note(r)
					return
				case !p.Retryable:
					t.Errorf("over HTTP: %d %+v", status, p)
					return
				}
				time.Sleep(time.Second)
			}
		}
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				if i%2 == 1 {
					overHTTP(i)
					return
				}
				j, err := c.Submit(w.ctx(), "demo.echo", json.RawMessage(`{"b":2,"a":1}`), ackwire.Key("order-7"))
				for ackwire.CodeOf(err) == code.Unavailable {
					time.Sleep(time.Second)
					j, err = c.Submit(w.ctx(), "demo.echo", json.RawMessage(`{"b":2,"a":1}`), ackwire.Key("order-7"))
				}
				if err != nil {
					t.Errorf("over a socket: %v", err)
					return
				}
				note(j.ID)
			})
		}
		w.CrashTracker()
		time.Sleep(3 * time.Second)
		w.StartTracker()
		all.Wait()
		if len(ids) != 1 {
			t.Fatalf("%d jobs of one key: %v", len(ids), ids)
		}
		for id := range ids {
			w.WantEnd("the one job", c, id, job.Completed, 1)
		}
		w.CrashTracker()
		w.StartTracker()
		for n := range 2 {
			if _, status, p := postOnce(w, hosts[n], GatewayURL(n), "order-7",
				`{"a":2}`); status != http.StatusUnprocessableEntity || p.Code != code.IdempotencyKeyReused {
				t.Errorf("another payload at gateway %d: %d %+v", n, status, p)
			}
		}
		if n := len(w.records(w.Names.Requests("default"))); n != 1 {
			t.Errorf("%d requests of one key", n)
		}
	})
}

func postOnce(w *World, hc *http.Client, base, key, payload string) (jobID string, status int, p frame.Problem) {
	w.T.Helper()
	r, err := http.NewRequestWithContext(w.ctx(), "POST", base+"/v1/jobs",
		strings.NewReader(`{"job":"demo.echo","payload":`+payload+`}`))
	if err != nil {
		w.T.Error(err)
		return
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {key}}
	resp, err := hc.Do(r)
	if err != nil {
		w.T.Error(err)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	var both struct {
		frame.Problem
		JobID string `json:"jobId"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&both); err != nil {
		w.T.Error(err)
	}
	return both.JobID, resp.StatusCode, both.Problem
}
