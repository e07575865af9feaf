package gateway

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/frame"
)

// pipes is a listener in memory: it takes no descriptors, of which a test may have too few.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

// open makes a session, and reads all that it is sent.
func (p *pipes) open(t *testing.T) net.Conn {
	client, server := net.Pipe()
	p.accepted <- server
	_, err := io.WriteString(client,
		"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: "+
			frame.Protocol+"\r\n\r\n")
	if err != nil {
		t.Error(err)
		return client
	}
	r := bufio.NewReaderSize(client, 16)
	if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("handshake: %v %v", resp, err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }()
	return client
}

// The bound of a scrape, whatever a gateway does.
const maxScrape = 1 << 20

// TestAScrapeDoesNotGrowWithSockets: what /metrics shows of a gateway with 10,000 sockets is
// small, in each format. How long it takes is told, and judged by nobody here.
func TestAScrapeDoesNotGrowWithSockets(t *testing.T) {
	sockets := 10_000
	if testing.Short() {
		sockets = 500
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	listener := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	env := service.OS(slog.New(slog.DiscardHandler))
	listen := env.Listen
	env.Listen = func(context.Context, string, string) (net.Listener, error) { return listener, nil }
	cfg := Defaults()
	cfg.Kafka = kafka.Config{Brokers: cluster.ListenAddrs()}
	cfg.Partitions = testPartitions
	cfg.Auth.AnonymousTenant = "local"
	cfg.Auth.Key = testKey
	cfg.Sessions, cfg.Limits = sockets+1, limits.Config{Submits: 1, SubmitBytes: 1 << 20}
	cfg.PingInterval = 10 * time.Minute // these clients answer none
	g, err := New(cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	env.Listen = listen
	ready := map[string]service.Ready{"gateway": g.Ready}
	ops, err := service.NewOps(t.Context(), env, "127.0.0.1:0", service.OpsConfig{}, ready)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- g.Run(ctx) }()
	go func() { ended <- ops.Run(ctx) }()
	defer func() {
		stop()
		for range 2 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}()
	var opening sync.WaitGroup
	clients := make([]net.Conn, sockets)
	for part := range 8 {
		opening.Go(func() {
			for i := part; i < sockets; i += 8 {
				clients[i] = listener.open(t)
			}
		})
	}
	opening.Wait()
	defer func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}()
	scrape := func(accept string) (body string, took time.Duration) {
		r := httptest.NewRequest(http.MethodGet, "http://"+ops.Addr()+"/metrics", nil)
		r.RequestURI = ""
		r.Header.Set("Accept", accept)
		began := time.Now()
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		took = time.Since(began)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK ||
			!strings.HasPrefix(resp.Header.Get("Content-Type"), strings.Split(accept, ";")[0]) {
			t.Fatalf("%s: %v %v", accept, resp.Header, err)
		}
		return string(b), took
	}
	// A client knows of its socket before the gateway counts it.
	all := fmt.Sprintf("\nackwire_gateway_sessions %d\n", sockets)
	counted := func() bool { body, _ := scrape("text/plain"); return strings.Contains(body, all) }
	for deadline := time.Now().Add(time.Minute); !counted(); {
		if time.Now().After(deadline) {
			t.Fatal("the sockets are not all there")
		}
	}
	for name, accept := range map[string]string{
		"text": "text/plain", "OpenMetrics": "application/openmetrics-text;version=1.0.0",
		"protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		body, quickest := scrape(accept)
		for range 4 {
			_, took := scrape(accept)
			quickest = min(quickest, took)
		}
		t.Logf("%d sockets, %s: %d bytes in %v", sockets, name, len(body), quickest)
		if len(body) > maxScrape {
			t.Errorf("%s: %d bytes", name, len(body))
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
