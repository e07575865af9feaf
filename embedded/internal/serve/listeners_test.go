package serve

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/simnet"
)

// inSystem runs the whole system in a bubble, and try once it is ready.
func inSystem(t *testing.T, change func(*Settings), try func(t *testing.T, n *simnet.Network)) {
	t.Helper()
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		cfg := config(dir)
		change(&cfg)
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		started, done := make(chan *System, 1), make(chan error, 1)
		go func() { done <- Run(ctx, cfg, environment(n.Host("ackwire")), func(e *System) { started <- e }) }()
		e := <-started
		for range 600 {
			if e.Ready() == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if err := e.Ready(); err != nil {
			t.Fatalf("not ready after a minute: %v", err)
		}
		try(t, n)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ask sends a GET with a Host and headers of its own, and returns the status.
func ask(t *testing.T, n *simnet.Network, url, host string, header http.Header) int {
	t.Helper()
	transport := &http.Transport{DialContext: n.Host("user").Dial, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host, r.Header = host, header
	if r.Header == nil {
		r.Header = http.Header{}
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	return resp.StatusCode
}

// TestListenersHeedTheHost asks every listener of the system by host names of this machine and of others: a page whose
// own host name resolves to this machine (DNS rebinding) is refused by each.
func TestListenersHeedTheHost(t *testing.T) {
	inSystem(t, func(*Settings) {}, func(t *testing.T, n *simnet.Network) {
		for _, l := range []struct {
			listener, url string
			taken         int
		}{
			{"gateway", "http://localhost:8080/v1/stats", http.StatusOK},
			{"console", "http://localhost:8080/console/session", http.StatusOK},
			{"operations", "http://localhost:8081/healthz", http.StatusOK},
			{"operations", "http://localhost:8081/metrics", http.StatusOK},
			{"tracker", "http://localhost:8090/", http.StatusNotFound}, // let in; there is no such route
		} {
			for _, h := range []struct {
				host  string
				taken bool
			}{
				{"localhost", true},
				{"localhost:1", true},
				{"LocalHost:8080", true},
				{"127.0.0.1:8080", true},
				{"[::1]:8080", true},
				{"evil.example", false},
				{"evil.example:8080", false},
				{"localhost.evil.example:8080", false},
				{"127.0.0.1.evil.example", false},
			} {
				want := http.StatusForbidden
				if h.taken {
					want = l.taken
				}
				if got := ask(t, n, l.url, h.host, nil); got != want {
					t.Errorf("%s, host %q: %d, want %d", l.listener, h.host, got, want)
				}
			}
		}
	})
}

// TestNoAnonymous checks who needs a token at a server on loopback: everybody with no-anonymous, and in any case those
// who come through a proxy.
func TestNoAnonymous(t *testing.T) {
	for _, off := range []bool{false, true} {
		inSystem(t, func(s *Settings) { s.NoAnonymous = off }, func(t *testing.T, n *simnet.Network) {
			want := http.StatusOK
			if off {
				want = http.StatusUnauthorized
			}
			const url = "http://localhost:8080/v1/stats"
			if got := ask(t, n, url, "localhost", nil); got != want {
				t.Errorf("no-anonymous %v: %d, want %d", off, got, want)
			}
			through := http.Header{"X-Forwarded-For": {"192.0.2.1"}}
			if got := ask(t, n, url, "localhost", through); got != http.StatusUnauthorized {
				t.Errorf("no-anonymous %v, through a proxy: %d", off, got)
			}
		})
	}
}
