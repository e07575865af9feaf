package sim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// notReadyWithin waits until a process says that it takes no work, and returns why.
func (w *World) notReadyWithin(p *Process, bound time.Duration) string {
	w.T.Helper()
	for began := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		if err := p.ready(); err != nil {
			w.T.Logf("%s after %s: %v", p.Name, time.Since(began), err)
			return err.Error()
		}
		if time.Since(began) > bound {
			w.T.Fatalf("%s is ready after %s", p.Name, bound)
		}
	}
}

// TestWhoIsCutOffIsNotReady: packets of one way vanish and nothing is closed. Who needs that way
// says so within seconds, without traffic, and is ready again once packets pass.
func TestWhoIsCutOffIsNotReady(t *testing.T) {
	for _, tc := range []struct {
		name, host, from string
		why              string
		within           time.Duration
	}{
		{"tracker from broker", "tracker", brokerAddr, "no answer from Kafka", 10 * time.Second},
		{"gateway from broker", "gateway", brokerAddr, "no broker of Kafka answers", 8 * time.Second},
		{"worker from broker", "worker", brokerAddr, "no broker of Kafka has answered", 10 * time.Second},
		{"gateway from tracker", "gateway", fmt.Sprintf("localhost:%d", trackerPort), "has not been heard", 14 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			Run(t, func(w *World) {
				other := w.StartGatewayAt(1)
				worker := w.StartWorker(nil)
				time.Sleep(time.Minute) // nothing happens
				p := map[string]*Process{"tracker": w.tracker, "gateway": w.gateway, "worker": worker}[tc.host]
				for _, ready := range []*Process{w.tracker, w.gateway, other, worker} {
					if err := ready.ready(); err != nil {
						t.Fatalf("%s at rest: %v", ready.Name, err)
					}
				}
				p.Host.Part(tc.from)
				if why := w.notReadyWithin(p, tc.within); !strings.Contains(why, tc.why) {
					t.Errorf("it says %q, want %q", why, tc.why)
				}
				if p != w.tracker {
					if err := other.ready(); err != nil {
						t.Errorf("another gateway, which is not cut off: %v", err)
					}
				}
				p.Host.Heal()
				w.eventually("it is ready again", func() bool { return p.ready() == nil })
			})
		})
	}
}

// TestAGatewayIsCutOffFromItsTracker: its watches know it within 3 s and resume as soon as packets
// pass; a read that comes when the silence is known is answered at once.
func TestAGatewayIsCutOffFromItsTracker(t *testing.T) {
	Run(t, func(w *World) {
		w.StartWorker(nil)
		c := w.Dial()
		j := w.Submit(c, "demo.sleep", `{"seconds":60,"steps":60}`)
		time.Sleep(5 * time.Second)
		w.gateway.Host.Part(fmt.Sprintf("localhost:%d", trackerPort))
		ended := func() float64 { return w.tracker.Count("ackwire_tracker_watches") }
		began := time.Now()
		w.eventually("the tracker lets go of the watches", func() bool { return ended() == 0 })
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("the tracker kept a gateway that is gone for %s", took)
		}
		w.notReadyWithin(w.gateway, 14*time.Second)
		asked := time.Now()
		status, _, b := w.HTTP("GET", "/v1/jobs/"+j.ID, nil, nil)
		if took := time.Since(asked); took > time.Second || status != http.StatusServiceUnavailable {
			t.Errorf("a read: %d %s after %s", status, b, took)
		}
		w.gateway.Host.Heal()
		healed := time.Now()
		w.eventually("reads are answered", func() bool {
			status, _, _ := w.HTTP("GET", "/v1/jobs/"+j.ID, nil, nil)
			return status == http.StatusOK
		})
		if took := time.Since(healed); took > 4*time.Second {
			t.Errorf("reads were answered only after %s", took)
		}
		w.eventually("the watch is back", func() bool { return ended() > 0 })
		w.WantEnd("after the cut", c, j.ID, "completed", 1)
	})
}
