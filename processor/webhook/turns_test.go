package webhook

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
)

// lane simulates the slots of a lane: work starts in order, as slots become free.
type lane struct {
	slots chan struct{}
	runs  sync.WaitGroup
}

func newLane(slots int) *lane { return &lane{slots: make(chan struct{}, slots)} }

// run waits for a slot and does the work in a goroutine.
func (l *lane) run(work func()) {
	l.slots <- struct{}{}
	l.runs.Go(func() {
		defer func() { <-l.slots }()
		work()
	})
}

// TestASlowEndpointHasAShare: another tenant's deliveries, queued behind a thousand to the slow endpoint, are made
// within two seconds, and those that are handed back made no call.
func TestASlowEndpointHasAShare(t *testing.T) {
	for _, c := range []struct {
		what string
		slow func(i int) place
	}{
		{"one endpoint", func(int) place { return place{"alice", "https://slow", "/"} }},
		{
			"many endpoints of one tenant",
			func(i int) place { return place{"alice", "https://slow" + string(rune('a'+i%20)), "/"} },
		},
	} {
		bubble.Test(t, func(t *testing.T) {
			turns, l := newTurns(64), newLane(64)
			var calls, most, handedBack atomic.Int64
			deliver := func(p place, takes time.Duration) bool {
				done, ok := turns.take(t.Context(), p)
				if !ok {
					handedBack.Add(1)
					return false
				}
				defer done()
				if n := calls.Add(1); n > most.Load() {
					most.Store(n)
				}
				time.Sleep(takes)
				calls.Add(-1)
				return true
			}
			began := time.Now()
			var last atomic.Int64
			for i := range 1000 {
				l.run(func() { deliver(c.slow(i), 12*time.Second) })
			}
			for range 100 {
				l.run(func() {
					if !deliver(place{"bob", "https://quick", "/"}, 20*time.Millisecond) {
						t.Errorf("%s: bob's delivery was handed back", c.what)
					}
					last.Store(int64(time.Since(began))) // the one that ends last
				})
			}
			l.runs.Wait()
			if took := time.Duration(last.Load()); took == 0 || took > 2*time.Second {
				t.Errorf("%s: another tenant's webhooks took %s", c.what, took)
			}
			if handedBack.Load() < 900 || most.Load() > 32+16 {
				t.Errorf("%s: %d were handed back, %d calls at one time", c.what, handedBack.Load(), most.Load())
			}
			if len(turns.hosts)+len(turns.tenants) != 0 {
				t.Errorf("%s: %d hosts and %d tenants are remembered", c.what, len(turns.hosts), len(turns.tenants))
			}
		})
	}
}

// TestAQuickEndpointIsHandedNothingBack: a burst to a quick endpoint waits for its slots, and no delivery is handed
// back.
func TestAQuickEndpointIsHandedNothingBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		turns, l := newTurns(64), newLane(64)
		for range 1000 {
			l.run(func() {
				done, ok := turns.take(t.Context(), place{"alice", "https://quick", "/"})
				if !ok {
					t.Error("handed back")
					return
				}
				time.Sleep(20 * time.Millisecond)
				done()
			})
		}
		l.runs.Wait()
	})
}

// TestBeyondTheShareADeliveryIsHandedBack: it has an error code and costs no attempt.
func TestBeyondTheShareADeliveryIsHandedBack(t *testing.T) {
	answer, called := make(chan struct{}), make(chan struct{})
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		called <- struct{}{}
		<-answer
	}))
	defer srv.Close()
	d := made(t, local())
	d.turns = newTurns(4) // one for each endpoint
	var first sync.WaitGroup
	first.Go(func() {
		if got := deliver(t, d, srv.URL+"/1"); got.Event != event.Completed {
			t.Errorf("%s %+v", got.Event, got.Failure)
		}
	})
	<-called
	if got := deliver(t, d, srv.URL+"/2"); got.Event != event.Released || got.Failure.Code != CodeBusy {
		t.Errorf("beyond the share: %s %+v", got.Event, got.Failure)
	}
	close(answer)
	first.Wait()
	if n := calls.Load(); n != 1 {
		t.Errorf("%d calls", n)
	}
}
