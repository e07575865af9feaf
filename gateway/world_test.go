package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/trace"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/simnet"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/topic"
)

const (
	testPartitions = 4
	gatewayAddr    = "localhost:8080"
	settled        = 30 * time.Second // virtual; time enough for a rebalance
)

var testKey = []byte("a key of the tests, long enough: 32+")

// world is a Kafka, a tracker that the test plays, and a gateway, on a virtual network; or
// without a tracker on loopback.
type world struct {
	t       *testing.T
	net     *simnet.Network      // nil on loopback
	traces  trace.TracerProvider // nil: no spans are made
	log     *slog.Logger         // nil: nobody reads it
	names   topic.Names
	cluster *kfake.Cluster
	tracker *fakeTracker
	// trackers are the checks of the trackers' callers; nil for none.
	trackers *peers.Server

	gateway *Gateway
	metrics *prometheus.Registry
	stop    context.CancelFunc
	ended   chan error
}

// inWorld runs a test in a bubble. configure may be nil; prepare sees the world before its
// gateway starts.
func inWorld(t *testing.T, configure func(*Config), f func(*testing.T, *world), prepare ...func(*world)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		w := &world{t: t, net: simnet.New(), names: topic.Names{Prefix: topic.DefaultPrefix}, ended: make(chan error, 1)}
		for _, p := range prepare {
			p(w)
		}
		broker := w.net.Host("broker")
		var err error
		w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092),
			kfake.ListenFn(func(network, address string) (net.Listener, error) {
				return broker.Listen(t.Context(), network, address)
			}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.cluster.Close)
		cfg := Defaults()
		cfg.Kafka = w.kafka()
		cfg.Partitions, cfg.Auth.AnonymousTenant, cfg.Auth.Key = testPartitions, "local", testKey
		if configure != nil {
			configure(&cfg)
		}
		w.startGateway(cfg)
		w.startTracker()
		f(t, w)
	})
}

// inWorldWith is inWorld with a provider of spans.
func inWorldWith(t *testing.T, traces trace.TracerProvider, configure func(*Config), f func(*testing.T, *world)) {
	t.Helper()
	inWorld(t, configure, f, func(w *world) { w.traces = traces })
}

// onLoopback runs a test with sockets of the operating system, outside of a bubble, for what
// only they do. There is no tracker unless the test starts it.
func onLoopback(t *testing.T, configure func(*Config), f func(*testing.T, *world)) {
	t.Helper()
	w := &world{t: t, names: topic.Names{Prefix: topic.DefaultPrefix}, ended: make(chan error, 1)}
	var err error
	if w.cluster, err = kfake.NewCluster(kfake.NumBrokers(1)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.cluster.Close)
	cfg := Defaults()
	cfg.Kafka, cfg.Listen = w.kafka(), "127.0.0.1:0"
	cfg.Partitions, cfg.Auth.AnonymousTenant, cfg.Auth.Key = testPartitions, "local", testKey
	if configure != nil {
		configure(&cfg)
	}
	w.startGateway(cfg)
	f(t, w)
}

// dialFrom connects to the gateway, or on a virtual network to any address.
func (w *world) dialFrom(ctx context.Context, host, network, address string) (net.Conn, error) {
	if w.net != nil {
		return w.net.Host(host).Dial(ctx, network, address)
	}
	return new(net.Dialer).DialContext(ctx, "tcp", w.gateway.Addr())
}

// connect connects to the gateway, and says nothing.
func (w *world) connect() (net.Conn, error) {
	return w.dialFrom(context.Background(), "client", "tcp", gatewayAddr)
}

func (w *world) kafka() kafka.Config {
	if w.net == nil {
		return kafka.Config{Brokers: w.cluster.ListenAddrs()}
	}
	return kafka.Config{Brokers: []string{"localhost:9092"}}
}

func (w *world) env(host string, metrics *prometheus.Registry) service.Env {
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("ACKWIRE_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("host", host)
	}
	if w.log != nil {
		log = w.log.With("host", host)
	}
	if w.net == nil {
		env := service.OS(log)
		env.Metrics = metrics
		return env
	}
	h := w.net.Host(host)
	dial := h.Dial
	if w.trackers != nil { // TLS needs it
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := h.Dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return simnet.Buffered(conn), nil
		}
	}
	return service.Env{Log: log, Metrics: metrics, Dial: dial, Listen: h.Listen, Traces: w.traces}
}

func (w *world) startGateway(cfg Config) {
	w.t.Helper()
	w.metrics = prometheus.NewPedanticRegistry()
	var err error
	if w.gateway, err = New(cfg, w.env("gateway", w.metrics)); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	go func() { w.ended <- w.gateway.Run(ctx) }()
	w.t.Cleanup(w.stopGateway)
	w.eventually("the gateway is ready", func() bool { return w.gateway.Ready() == nil })
}

// stopGateway drains the gateway and waits for its end.
func (w *world) stopGateway() {
	w.stop()
	if err, running := <-w.ended; running {
		close(w.ended)
		if err != nil {
			w.t.Errorf("gateway ended with %v", err)
		}
	}
}

func (w *world) eventually(what string, holds func() bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(settled); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: not within %s", what, settled)
		}
	}
}

// gauge reads a metric; the sum over its labels.
func (w *world) gauge(name string, label ...string) float64 {
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			all := ""
			for _, l := range m.Label {
				all += " " + l.GetValue()
			}
			if strings.Contains(all+" ", strings.Join(append([]string{""}, label...), " ")) {
				sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func (w *world) token(tenant, subject string, ttl time.Duration) string {
	w.t.Helper()
	token, err := SignToken(testKey, tenant, subject, ttl)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// header returns the headers of a client with a token.
func (w *world) header(tenant, subject string, permissions ...string) http.Header {
	w.t.Helper()
	token, err := SignToken(testKey, tenant, subject, time.Hour, permissions...)
	if err != nil {
		w.t.Fatal(err)
	}
	return http.Header{"Authorization": {"Bearer " + token}}
}

// readerToken returns the token of a client that may read all jobs of its tenant.
func (w *world) readerToken(tenant, subject string) string {
	return strings.TrimPrefix(w.header(tenant, subject, "submit", "read:tenant").Get("Authorization"), "Bearer ")
}

// produced returns the records of a topic.
func (w *world) produced(topicName string) []*kgo.Record {
	w.t.Helper()
	cl, err := w.kafka().NewClient(w.env("reader", prometheus.NewRegistry()), "reader",
		kgo.ConsumeTopics(topicName), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	var all []*kgo.Record
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		fetches := cl.PollFetches(ctx)
		cancel()
		if fetches.NumRecords() == 0 {
			return all
		}
		all = append(all, fetches.Records()...)
	}
}

// client is a socket that speaks raw frames.
type client struct {
	w   *world
	ws  *websocket.Conn
	raw net.Conn
}

type dialOptions struct {
	header       http.Header
	subprotocols []string
	query        string
}

// dialRaw opens a socket without reading from it.
func (w *world) dialRaw(o dialOptions) (*client, *http.Response, error) {
	w.t.Helper()
	c := &client{w: w}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := w.dialFrom(ctx, "client", network, address)
		c.raw = conn
		return conn, err
	}}
	w.t.Cleanup(transport.CloseIdleConnections)
	ws, r, err := websocket.Dial(w.t.Context(), "ws://"+gatewayAddr+"/v1/ws"+o.query, &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: o.header,
		Subprotocols: append([]string{frame.Protocol}, o.subprotocols...),
	})
	if err != nil {
		return nil, r, err
	}
	c.ws = ws
	ws.SetReadLimit(-1)
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	return c, r, nil
}

// dial opens a socket and reads its welcome. An empty token is anonymous.
func (w *world) dial(token string) *client {
	w.t.Helper()
	var o dialOptions
	if token != "" {
		o.header = http.Header{"Authorization": {"Bearer " + token}}
	}
	c, _, err := w.dialRaw(o)
	if err != nil {
		w.t.Fatal(err)
	}
	c.want("a new session is welcomed", frame.Welcome)
	return c
}

func (c *client) send(format string, args ...any) {
	c.w.t.Helper()
	if err := c.ws.Write(c.w.t.Context(), websocket.MessageText, fmt.Appendf(nil, format, args...)); err != nil {
		c.w.t.Fatalf("send %.100s: %v", fmt.Sprintf(format, args...), err)
	}
}

// got is any frame of the server.
type got struct {
	Type    frame.Type      `json:"type"`
	ID      string          `json:"id"`
	JobID   string          `json:"jobId"`
	State   string          `json:"state"`
	Version int64           `json:"version"`
	Job     json.RawMessage `json:"job"`
	Jobs    json.RawMessage `json:"jobs"`
	Code    string          `json:"code"`
	raw     string

	Duplicate      bool    `json:"duplicate"`
	ReconnectAfter float64 `json:"reconnectAfter"`
	RetryAfter     float64 `json:"retryAfter"`
	Errors         []frame.FieldError
}

// read returns the next frame; an error when the socket has ended or nothing comes.
func (c *client) read(within time.Duration) (got, error) {
	type answer struct {
		b   []byte
		err error
	}
	answered := make(chan answer, 1)
	_ = c.raw.SetReadDeadline(time.Now().Add(within))
	go func() {
		_, b, err := c.ws.Read(context.Background())
		answered <- answer{b, err}
	}()
	a := <-answered
	_ = c.raw.SetReadDeadline(time.Time{})
	if a.err != nil {
		return got{}, a.err
	}
	g := got{raw: string(a.b)}
	return g, json.Unmarshal(a.b, &g)
}

// keepReading reads, and answers pings, until the socket ends.
func (c *client) keepReading() {
	for {
		if _, _, err := c.ws.Read(context.Background()); err != nil {
			return
		}
	}
}

// want reads the next frame and checks its type.
func (c *client) want(what string, t frame.Type) got {
	c.w.t.Helper()
	g, err := c.read(settled)
	if err != nil {
		c.w.t.Fatalf("%s: want a frame %s, got %v", what, t, err)
	}
	if g.Type != t {
		c.w.t.Fatalf("%s: want a frame %s, got %s", what, t, g.raw)
	}
	return g
}

// wantError reads an error frame and checks its code.
func (c *client) wantError(what, code string) got {
	c.w.t.Helper()
	g := c.want(what, frame.Error)
	if g.Code != code {
		c.w.t.Errorf("%s: want code %s, got %s", what, code, g.raw)
	}
	return g
}

// wantClose reads until the socket is closed, and checks with which code.
func (c *client) wantClose(what string, code int) {
	c.w.t.Helper()
	for {
		g, err := c.read(settled)
		if err == nil {
			if g.Type != frame.Error && g.Type != frame.Goaway {
				c.w.t.Errorf("%s: got %s before the close", what, g.raw)
			}
			continue
		}
		var closed websocket.CloseError
		if !errors.As(err, &closed) || int(closed.Code) != code {
			c.w.t.Errorf("%s: want close %d, got %v", what, code, err)
		}
		return
	}
}

// wantAlive checks that the socket still answers, and that nothing else is under way.
func (c *client) wantAlive(what string) {
	c.w.t.Helper()
	c.send(`{"type":"ping","id":"alive"}`)
	if g := c.want(what, frame.Pong); g.ID != "alive" {
		c.w.t.Errorf("%s: %s", what, g.raw)
	}
}

// submit submits an echo and returns its ack.
func (c *client) submit() got {
	c.w.t.Helper()
	c.send(`{"type":"submit","id":"s","job":"demo.echo","payload":{"n":1}}`)
	return c.want("a submit is acked", frame.Ack)
}

// answer is an HTTP response.
type answer struct {
	status int
	header http.Header
	body   string
	code   string
}

// http makes a request; body may be nil.
func (w *world) http(method, path string, header http.Header, body io.Reader) answer {
	w.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		return w.dialFrom(ctx, "client", network, address)
	}, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+gatewayAddr+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for k, v := range header {
		r.Header[k] = v
	}
	response, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := answer{status: response.StatusCode, header: response.Header, body: string(b)}
	var p struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(b, &p) == nil {
		a.code = p.Code
	}
	return a
}
