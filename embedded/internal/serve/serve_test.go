package serve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// config is the whole system on a virtual network, its data in dir.
func config(dir string) Settings {
	cfg := DefaultSettings()
	cfg.Broker = broker.Config{Data: dir, Listen: "localhost:9092"}
	cfg.Gateway.Listen, cfg.OpsListen, cfg.Tracker.Listen = "localhost:8080", "localhost:8081", "localhost:8090"
	cfg.Tracker.MinFree = 0
	cfg.Gateway.Partitions = 1
	cfg.Worker.Slots = 1
	cfg.NoProcessor = true
	return cfg
}

func environment(host *simnet.Host) service.Env {
	return service.Env{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Dial: host.Dial, Listen: host.Listen,
	}
}

// get sends a GET from a host of its own, with a token if it is not empty.
func get(t *testing.T, n *simnet.Network, url, token string) (status int, body string) {
	t.Helper()
	transport := &http.Transport{DialContext: n.Host("user").Dial, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestTokensOfTheDataFoldersKey checks that the server accepts tokens made with the data folder's key, and no others.
func TestTokensOfTheDataFoldersKey(t *testing.T) {
	dir := t.TempDir()
	key, err := Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		ctx, stop := context.WithCancel(t.Context())
		started, done := make(chan *System, 1), make(chan error, 1)
		go func() {
			done <- Run(ctx, config(dir), environment(n.Host("ackwire")), func(e *System) { started <- e })
		}()
		e := <-started
		for range 600 {
			if e.Ready() == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if status, body := get(t, n, "http://localhost:8081/readyz", ""); status != 200 {
			t.Fatalf("not ready after a minute: %s", body)
		}
		token := func(key []byte, ttl time.Duration) string {
			token, err := gateway.SignToken(key, "acme", "alice", ttl)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		short := token(key, time.Hour)
		grantBy := func(key []byte) string {
			g, err := ackwire.GrantKey{Secret: key}.Grant("acme", "alice", ackwire.GrantRequest{
				Jobs: []string{"01a208fd-2dc6-7467-acd5-bb987da2c71e"}, TTL: time.Hour,
			})
			if err != nil {
				t.Fatal(err)
			}
			return g.Token
		}
		grants, err := os.ReadFile(filepath.Join(dir, grantKey))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, token string
			status      int
		}{
			{"of this key", token(key, 24*time.Hour), 404}, // it is let in, and there is no such job
			{"of another key", token(make([]byte, keyBytes), time.Hour), 401},
			{"that is none", "nonsense", 401},
			{"that is a grant by the folder's key for grants", grantBy(bytes.TrimSpace(grants)), 404},
			{"that is a grant by the key for tokens", grantBy(key), 401},
			{"left out, on loopback", "", 404},
		} {
			if status, body := get(t, n, "http://localhost:8080/v1/jobs/01a208fd-2dc6-7467-acd5-bb987da2c71e",
				c.token); status != c.status {
				t.Errorf("a token %s: %d %s", c.name, status, body)
			}
		}
		time.Sleep(2 * time.Hour)
		if status, _ := get(t, n, "http://localhost:8080/v1/jobs/01a208fd-2dc6-7467-acd5-bb987da2c71e",
			short); status != 401 {
			t.Errorf("a token that has expired: %d", status)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRunRefusesAFolderInUse(t *testing.T) {
	dir := t.TempDir()
	unlock, err := broker.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), config(dir), environment(simnet.New().Host("ackwire")), nil)
	if !errors.Is(err, broker.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
}

// What fails after half of it was started is stopped again, and the folder is free.
func TestRunThatCannotListenLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		for _, address := range []string{"localhost:8081", "localhost:9092", "localhost:8090", "localhost:8080"} {
			taken, err := n.Host("other").Listen(t.Context(), "tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			err = Run(t.Context(), config(dir), environment(n.Host("ackwire")), nil)
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s is taken: %v", address, err)
			}
			if err := taken.Close(); err != nil {
				t.Fatal(err)
			}
			unlock, err := broker.Lock(dir)
			if err != nil {
				t.Fatalf("%s was taken: %v", address, err)
			}
			if err := unlock(); err != nil {
				t.Error(err)
			}
		}
	})
}

// The operations listener answers while the broker is still starting; the race detector sees how it learns of it.
func TestReadinessWhileTheBrokerStarts(t *testing.T) {
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		env := environment(n.Host("ackwire"))
		listen, listening := env.Listen, make(chan struct{})
		env.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
			l, err := listen(ctx, network, address)
			if address == "localhost:8081" {
				close(listening)
			}
			return l, err
		}
		ctx, stop := context.WithCancel(t.Context())
		started, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- Run(ctx, config(dir), env, func(*System) { close(started) }) }()
		<-listening
		var bodies []string
		for open := true; open; {
			_, body := get(t, n, "http://localhost:8081/readyz", "")
			bodies = append(bodies, body)
			select {
			case <-started:
				open = false
			default:
			}
		}
		if !strings.Contains(bodies[0], `"broker":"starting"`) {
			t.Errorf("readyz before the broker runs: %s", bodies[0])
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
