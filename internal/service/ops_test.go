package service

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/pause"
)

func quietOS() Env { return OS(slog.New(slog.DiscardHandler)) }

// ask sends a GET to the operations handler.
func ask(t *testing.T, ready map[string]Ready, path string) (status int, contentType, body string) {
	t.Helper()
	o := &Ops{env: quietOS(), probes: probes{parts: ready}}
	w := httptest.NewRecorder()
	o.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Header().Get("Content-Type"), w.Body.String()
}

func TestHealthzIsAlive(t *testing.T) {
	broken := map[string]Ready{"gateway": func() error { return errors.New("no") }}
	if status, _, body := ask(t, broken, "/healthz"); status != 200 || body != "ok\n" {
		t.Errorf("a process that is not ready is alive all the same: %d %q", status, body)
	}
}

func TestReadyzGivesReasons(t *testing.T) {
	fine := func() error { return nil }
	for _, c := range []struct {
		name   string
		ready  map[string]Ready
		status int
		body   string
	}{
		{"nothing to ask", nil, 200, `{"ready":true}`},
		{
			"all ready", map[string]Ready{"gateway": fine, "tracker": fine}, 200,
			`{"ready":true,"parts":{"gateway":{"ready":true},"tracker":{"ready":true}}}`,
		},
		{"one is not", map[string]Ready{
			"gateway": fine, "tracker": func() error { return errors.New("partition 3 is catching up") },
		},
			503, `{"ready":false,"reasons":{"tracker":"partition 3 is catching up"},"parts":{"gateway":{"ready":true},"tracker":{"ready":false,"reason":"partition 3 is catching up"}}}`},
	} {
		status, contentType, body := ask(t, c.ready, "/readyz")
		if status != c.status || contentType != "application/json" || strings.TrimSpace(body) != c.body ||
			!json.Valid([]byte(body)) {
			t.Errorf("%s: %d %s %q", c.name, status, contentType, body)
		}
	}
}

// TestStartupIsOver: what was ready once has started, whatever becomes of it.
func TestStartupIsOver(t *testing.T) {
	restoring := errors.New("restoring: 1 of 3 partitions are ready")
	state := restoring
	o := &Ops{env: quietOS(), probes: probes{parts: map[string]Ready{"tracker": func() error { return state }}}}
	for _, step := range []struct {
		now             error
		startup, readyz int
		reason          string
	}{
		{restoring, 503, 503, restoring.Error()},
		{nil, 200, 200, ""},
		{restoring, 200, 503, restoring.Error()},
	} {
		state = step.now
		for path, want := range map[string]int{"/startupz": step.startup, "/readyz": step.readyz} {
			w := httptest.NewRecorder()
			o.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code != want || !strings.Contains(w.Body.String(), step.reason) {
				t.Errorf("%v: %s is %d %s", step.now, path, w.Code, w.Body)
			}
		}
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	o := &Ops{env: quietOS(), debug: true}
	for path, want := range map[string]string{
		"/metrics":                       "go_goroutines ",
		"/debug/pprof/":                  "goroutine",
		"/debug/pprof/goroutine?debug=1": "goroutine profile",
		"/debug/pprof/cmdline":           "service.test",
	} {
		w := httptest.NewRecorder()
		o.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d, without %q", path, w.Code, want)
		}
	}
	if status, _, _ := ask(t, nil, "/nonsense"); status != 404 {
		t.Errorf("/nonsense: %d", status)
	}
}

func TestOpsSaysThatItsPortIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = NewOps(t.Context(), quietOS(), taken.Addr().String(), OpsConfig{}, nil)
	if err == nil || !strings.Contains(err.Error(), "ops listener: listen tcp "+taken.Addr().String()) {
		t.Errorf("got %v", err)
	}
}

// A request that is being answered when the server stops gets its answer; one that takes
// too long is cut off, so that a stop has a bound.
func TestServeHTTPLetsRequestsFinishWithinABound(t *testing.T) {
	for _, c := range []struct {
		name       string
		takes, end time.Duration
		answered   bool
	}{
		{"finishes", time.Second, time.Second, true},
		{"is cut off", time.Hour, shutdownTimeout, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				var network kfake.VirtualNetwork
				l, err := network.Listen("tcp", "localhost:80")
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				served := make(chan error, 1)
				go func() {
					served <- ServeHTTP(ctx, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
						pause.For(r.Context(), c.takes)
					})}, l)
				}()
				transport := &http.Transport{DialContext: network.DialContext}
				defer transport.CloseIdleConnections()
				answer := make(chan error, 1)
				go func() {
					resp, err := (&http.Client{Transport: transport}).Get("http://localhost:80/")
					if err == nil {
						_, err = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
					answer <- err
				}()
				synctest.Wait()
				began := time.Now()
				stop()
				if err := <-served; err != nil {
					t.Error(err)
				}
				// Shutdown looks in growing intervals of at most half a second.
				if took := time.Since(began); took < c.end || took > c.end+600*time.Millisecond {
					t.Errorf("stopped after %v, want %v", took, c.end)
				}
				if err := <-answer; (err == nil) != c.answered {
					t.Errorf("the request in flight: %v", err)
				}
			})
		})
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example.com": false, "example.com": false,
	} {
		if Loopback(host) != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
