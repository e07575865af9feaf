package embedded

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// get sends a GET from a host of its own.
func get(t *testing.T, n *simnet.Network, url string) (status int, body string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: n.Host("user").Dial, DisableKeepAlives: true}}
	resp, err := client.Get(url)
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

// quiet are options of a server on a host of a virtual network.
func quiet(host *simnet.Host, more ...Option) []Option {
	return append(more, WithLogger(slog.New(slog.DiscardHandler)), WithNetwork(host.Dial, host.Listen))
}

// atPorts is a configuration for a virtual network, which has no port 0.
func atPorts(dir string) Config {
	return Config{
		Data: dir, Listen: "127.0.0.1:8080", OpsListen: "127.0.0.1:8081", TrackerListen: "127.0.0.1:8090",
		KafkaListen: "127.0.0.1:9092", Partitions: 1,
	}
}

// TestStart: an Ackwire within a program takes work when Start returns, tells where it is reached, keeps its
// folder until Stop, and starts again on it.
func TestStart(t *testing.T) {
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		n, reg := simnet.New(), prometheus.NewRegistry()
		cfg := atPorts(dir)
		for round := range 2 {
			s, err := Start(t.Context(), cfg, quiet(n.Host("program"), WithMetrics(reg))...)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Ready(); err != nil {
				t.Errorf("not ready: %v", err)
			}
			if status, body := get(t, n, s.URL()+"/v1/stats"); status != 200 {
				t.Errorf("a client's request: %d %s", status, body)
			}
			if status, body := get(t, n, "http://"+s.OpsAddr()+"/metrics"); status != 200 ||
				!strings.Contains(body, "\nackwire_gateway_") {
				t.Errorf("/metrics: %d %.200s", status, body)
			}
			c, err := n.Host("worker").Dial(t.Context(), "tcp", s.KafkaAddr())
			if err != nil {
				t.Errorf("the broker: %v", err)
			} else {
				_ = c.Close()
			}
			if _, err := Start(t.Context(), cfg, quiet(n.Host("other"))...); !errors.Is(err, ErrInUse) {
				t.Errorf("a second one on the same folder: %v", err)
			}
			for range 2 {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			}
			<-s.Done()
			if s.Ready() == nil {
				t.Errorf("round %d: ready after its end", round)
			}
			reg = prometheus.NewRegistry()
		}
	})
}

// TestTheContextOfAStart bounds the start, and nothing that was started.
func TestTheContextOfAStart(t *testing.T) {
	dir := t.TempDir()
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		cfg := atPorts(dir)
		cfg.NoProcessor = true
		ctx, cancel := context.WithCancel(t.Context())
		s, err := Start(ctx, cfg, quiet(n.Host("program"))...)
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(time.Minute)
		if err := s.Ready(); err != nil {
			t.Errorf("after its start's context: %v", err)
		}
		if err := s.Stop(); err != nil {
			t.Error(err)
		}

		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cfg.Brokers = []string{"localhost:1"}
		began := time.Now()
		_, err = Start(ctx, cfg, quiet(n.Host("program"))...)
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took < time.Minute ||
			took > 2*time.Minute {
			t.Errorf("a Kafka that is not there: %v after %v", err, took)
		}
	})
}

func TestStartRefuses(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := simnet.New()
		taken, err := n.Host("other").Listen(t.Context(), "tcp", "127.0.0.1:8080")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = taken.Close() }()
		for want, change := range map[string]func(*Config){
			"partitions": func(c *Config) { c.Partitions = -1 },
			"listen":     func(c *Config) { c.Listen = "nowhere" },
			"gateway":    func(*Config) {}, // its address is taken
		} {
			cfg := atPorts(t.TempDir())
			change(&cfg)
			if _, err := Start(t.Context(), cfg, quiet(n.Host("program"))...); err == nil ||
				!strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", want, err)
			}
		}
	})
}
