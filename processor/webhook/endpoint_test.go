package webhook

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/fleet"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// deliver runs the handler as a processor would.
func deliver(t *testing.T, d *deliverer, url string) processortest.Outcome {
	t.Helper()
	got, err := processortest.Run(t.Context(), func(p *processor.Processor) {
		processor.HandleRaw(p, topic.WebhookType, d.deliver)
	},
		processortest.Job{Type: topic.WebhookType, Tenant: "alice", Payload: webhook.Request{URL: url, Body: []byte(`{}`)}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestDeadPathsDoNotPauseTheirHost: each path is paused for its own failures. A delivery to a paused path is handed
// back with a pause, which costs no attempt.
func TestDeadPathsDoNotPauseTheirHost(t *testing.T) {
	var calls atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.URL.Path != "/good" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	d := made(t, local())
	attempts, released := 0, 0
	for range 3 * pauseAfter {
		for path := range 5 {
			got := deliver(t, d, fmt.Sprintf("%s/dead/%d?token=%d", srv.URL, path, attempts))
			switch {
			case got.Event == event.Failed:
				attempts++
			case got.Event == event.Released && got.Failure.Code == CodePaused && got.Failure.RetryAfter != nil:
				released++
			default:
				t.Fatalf("%s %+v", got.Event, got.Failure)
			}
		}
		if got := deliver(t, d, srv.URL+"/good"); got.Event != event.Completed {
			t.Fatalf("another path of the host: %s %+v", got.Event, got.Failure)
		}
	}
	if want := 5 * pauseAfter; attempts != want || released != 2*want {
		t.Errorf("%d attempts and %d handed back, want %d and %d", attempts, released, want, 2*want)
	}
	if n := int(calls.Load()); n != attempts+3*pauseAfter {
		t.Errorf("%d calls for %d attempts", n, attempts)
	}
}

// TestAHostThatIsAwayIsPaused: all its paths wait until one delivery could connect again.
func TestAHostThatIsAwayIsPaused(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	url := srv.URL
	srv.Close()
	d := made(t, local())
	for n := range pauseAfter {
		if got := deliver(t, d, fmt.Sprintf("%s/%d", url, n)); got.Event != event.Failed ||
			got.Failure.Code != CodeUnreachable {
			t.Fatalf("%s %+v", got.Event, got.Failure)
		}
	}
	if got := deliver(t, d, url+"/another"); got.Event != event.Released || got.Failure.Code != CodePaused {
		t.Errorf("a path of a host that is away: %s %+v", got.Event, got.Failure)
	}
}

func TestAHostThatIsBackIsCalled(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := endpoints{failed: map[place]*health{}}
		at := func(path string) place { return place{"alice", "https://a", path} }
		for n := range pauseAfter {
			e.unconnected(at(fmt.Sprint("/", n)))
		}
		if e.wait(at("/x")) == 0 {
			t.Fatal("a host that accepts no connections is called")
		}
		time.Sleep(firstPause)
		if e.wait(at("/x")) != 0 || e.wait(at("/y")) == 0 {
			t.Fatal("after the pause one may try, and no other")
		}
		e.refused(at("/x")) // an answer, though no success: the host is up
		if e.wait(at("/y")) != 0 {
			t.Fatal("the host answers, and its other paths wait")
		}
		if e.paused() != 0 {
			t.Errorf("%d paused", e.paused())
		}
	})
}

// TestNoSecretIsTheWorkersInability: the delivery is handed back, since another worker may have the tenant's secret.
func TestNoSecretIsTheWorkersInability(t *testing.T) {
	d := made(t, local())
	d.cfg.Keys = nil
	if got := deliver(t, d, "http://127.0.0.1:1/"); got.Event != event.Released || got.Failure.Code != CodeNoSecret ||
		got.Failure.RetryAfter != nil {
		t.Errorf("%s %+v", got.Event, got.Failure)
	}
}

// TestPausedEndpointsAreListed: those that are not called now, without what may be secret in their URLs, the worst
// first and no more than an announcement may have.
func TestPausedEndpointsAreListed(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := endpoints{failed: map[place]*health{}}
		fail := func(p place, n int) {
			for range n {
				e.refused(p)
			}
		}
		fail(place{"alice", "https://h.example", "/well"}, pauseAfter-1)
		fail(place{"alice", "https://h.example", "/bad"}, pauseAfter)
		fail(place{"bob", "https://h.example", "/bad"}, pauseAfter+2)
		for range pauseAfter {
			e.unconnected(place{"alice", "https://away.example", "/x"})
		}
		all, more := e.list()
		got := ""
		for _, p := range all {
			got += fmt.Sprintf("%s %s %d %s\n", p.Tenant, p.Endpoint, p.Failures, time.Until(p.Until).Round(time.Second))
		}
		want := "bob https://h.example/bad 7 30s\nalice https://away.example 5 30s\nalice https://h.example/bad 5 30s\n"
		if got != want || more {
			t.Errorf("paused, more %t:\n%swant\n%s", more, got, want)
		}
		time.Sleep(firstPause)
		if all, _ := e.list(); len(all) != 0 {
			t.Errorf("after the pauses: %v", all)
		}
		for i := range 2 * fleet.MaxPaused {
			fail(place{"alice", "https://h.example", fmt.Sprint("/", i)}, pauseAfter)
		}
		if all, more := e.list(); len(all) != fleet.MaxPaused || !more {
			t.Errorf("%d of many, more %t", len(all), more)
		}
	})
}
