package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/webhook"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func local() Config {
	return Config{
		Keys: [][]byte{testKey}, Schemes: []string{"http"}, Ports: []uint16{0},
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
}

func made(t *testing.T, cfg Config) *deliverer {
	t.Helper()
	d, err := newDeliverer(cfg, 64)
	if err != nil {
		t.Fatal(err)
	}
	d.register(prometheus.NewRegistry())
	t.Cleanup(d.client.CloseIdleConnections)
	return d
}

func (d *deliverer) send(t *testing.T, tenant, url string) (string, string, error) {
	t.Helper()
	body := json.RawMessage(`{"type":"job.completed","data":{}}`)
	j := &processor.Job{ID: "wh-1", Tenant: tenant, Log: slog.New(slog.DiscardHandler)}
	result, code, err := d.attempt(t.Context(), j, webhook.Request{URL: url, Body: body})
	return string(result), code, err
}

func TestAWebhookIsSignedWithEverySecret(t *testing.T) {
	var got http.Header
	var body []byte
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	old := []byte(strings.Repeat("o", 32))
	cfg := local()
	cfg.Keys = append(cfg.Keys, old)
	result, code, err := made(t, cfg).send(t, "alice", srv.URL+"/hook")
	if err != nil || code != "" || result != `{"status":204}` {
		t.Fatalf("got %s, %s, %v", result, code, err)
	}
	for _, key := range [][]byte{testKey, old} {
		verifier, err := standardwebhooks.NewWebhook(webhook.Secret(key, "alice"))
		if err != nil {
			t.Fatal(err)
		}
		if err := verifier.Verify(body, got); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
	stranger, _ := standardwebhooks.NewWebhook(webhook.Secret(testKey, "bob"))
	if stranger.Verify(body, got) == nil {
		t.Error("another tenant's secret verifies it")
	}
}

func TestAnswers(t *testing.T) {
	var redirected atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		var status int
		_, _ = fmt.Sscan(r.PathValue("code"), &status)
		w.Header().Set("Location", "/elsewhere")
		if status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "90")
		}
		w.WriteHeader(status)
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { redirected.Store(true) })
	mux.HandleFunc("/cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, tc := range []struct {
		path, code string
		failure    string // of the error's text
	}{
		{"/status/200", "", ""},
		{"/status/202", "", ""},
		{"/status/302", CodeRejected, "answered 302"},
		{"/status/307", CodeRejected, "answered 307"},
		{"/status/400", CodeRejected, "answered 400"},
		{"/status/410", CodeGone, "answered 410"},
		{"/status/500", CodeRejected, "answered 500"},
		{"/status/503", CodeRejected, "answered 503"},
		{"/cut", CodeUnreachable, "no answer"},
	} {
		_, code, err := made(t, local()).send(t, "alice", srv.URL+tc.path)
		if code != tc.code || (err == nil) != (tc.failure == "") || err != nil && !strings.Contains(err.Error(), tc.failure) {
			t.Errorf("%s: got %q, %v", tc.path, code, err)
		}
	}
	if redirected.Load() {
		t.Error("a redirect was followed")
	}
}

// TestTheGuard: addresses that are not public are not dialled, whatever name or notation leads to them.
func TestTheGuard(t *testing.T) {
	var called atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called.Store(true) }))
	defer srv.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(srv.URL, "http://"), ":")
	cfg := local()
	cfg.Allow = nil
	d := made(t, cfg)
	for _, host := range []string{
		"127.0.0.1", "localhost", "127.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "10.0.0.1",
		"172.16.0.1", "192.168.1.1",
		"169.254.169.254", "[fe80::1]", "[fc00::1]", "224.0.0.1", "[ff02::1]", "100.64.0.1", "255.255.255.255", "198.18.0.1",
		"192.0.2.1",
		"[64:ff9b::7f00:1]", "[64:ff9b::a00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2001:db8::1]", "[100::1]",
	} {
		_, code, err := d.send(t, "alice", "http://"+host+":"+port+"/")
		// A resolver that does not know the notation 127.1 finds no address, which is as good.
		if code != CodeBlocked && !(host == "127.1" && code == CodeUnreachable) {
			t.Errorf("%s: got %q, %v", host, code, err)
		}
		if err != nil && strings.Contains(err.Error(), port) {
			t.Errorf("%s: the error tells about the network: %v", host, err)
		}
	}
	if called.Load() {
		t.Error("the server on loopback was called")
	}
	cfg = local()
	cfg.Ports = []uint16{443}
	if _, code, _ := made(t, cfg).send(t, "alice", srv.URL); code != CodeBlocked {
		t.Errorf("another port: got %q", code)
	}
	cfg = local()
	cfg.Schemes = []string{"https"}
	if _, code, _ := made(t, cfg).send(t, "alice", srv.URL); code != CodeBlocked {
		t.Errorf("another scheme: got %q", code)
	}
}

func TestAnEndpointThatFailsIsPaused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		e := endpoints{failed: map[place]*health{}}
		p, other := place{"alice", "https://a", "/x"}, place{"bob", "https://a", "/x"}
		for i := range pauseAfter {
			if e.wait(p) != 0 {
				t.Fatalf("paused after %d failures", i)
			}
			e.refused(p)
		}
		if w := e.wait(p); w < firstPause {
			t.Fatalf("waits %s after %d failures", w, pauseAfter)
		}
		if e.wait(other) != 0 {
			t.Fatal("another tenant's endpoint is paused with it")
		}
		if e.paused() != 1 {
			t.Fatalf("%d paused", e.paused())
		}
		time.Sleep(firstPause)
		if e.wait(p) != 0 || e.wait(p) == 0 {
			t.Fatal("after the pause one may try, and no other")
		}
		if paused, pause := e.refused(p); !paused || pause != 2*firstPause {
			t.Fatalf("after the try: %t, %s", paused, pause)
		}
		time.Sleep(2 * firstPause)
		if e.wait(p) != 0 {
			t.Fatal("no second try")
		}
		time.Sleep(trialTime) // the try did not end: its worker died
		if e.wait(p) != 0 {
			t.Fatal("nobody may try any more")
		}
		e.succeeded(p)
		if e.wait(p) != 0 || e.paused() != 0 {
			t.Fatal("paused after a success")
		}
		for i := range 3 * maxEndpoints {
			e.refused(place{"t", fmt.Sprint(i), "/"})
		}
		if len(e.failed) > maxEndpoints {
			t.Fatalf("%d endpoints are remembered", len(e.failed))
		}
	})
}

func TestDeliverCountsAndGivesCodes(t *testing.T) {
	d := made(t, local())
	j := &processor.Job{ID: "wh-1", Tenant: "alice", Log: slog.New(slog.DiscardHandler)}
	if _, err := d.deliver(context.Background(), j, []byte(`{"url":"ftp://x/","body":{}}`)); err == nil {
		t.Error("a URL that is not HTTP is taken")
	}
	_, err := d.deliver(context.Background(), j, []byte(`{"url":"https://127.0.0.1/","body":{}}`))
	if err == nil {
		t.Fatal("delivered with a scheme that is not allowed")
	}
	if n := testutil.ToFloat64(d.outcomes.WithLabelValues("blocked")); n != 1 {
		t.Errorf("blocked: %v", n)
	}
	cfg := local()
	cfg.Keys = nil
	if _, err := newDeliverer(cfg, 64); err == nil {
		t.Error("a deliverer without any secret")
	}
}

func TestSecrets(t *testing.T) {
	own := webhook.Secret(testKey, "x")
	for _, tc := range []struct {
		what string
		cfg  Config
		bad  string
	}{
		{"two keys", Config{Keys: [][]byte{testKey, testKey}}, ""},
		{"three keys", Config{Keys: [][]byte{testKey, testKey, testKey}}, "3 keys"},
		{"a short key", Config{Keys: [][]byte{[]byte("short")}}, "5 bytes"},
		{"own secrets", Config{Secrets: map[string][]string{"alice": {own, own}}}, ""},
		{"three secrets", Config{Secrets: map[string][]string{"alice": {own, own, own}}}, "3 secrets"},
		{
			"not base64", Config{Secrets: map[string][]string{"alice": {"whsec_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!"}}},
			`tenant "alice"`,
		},
		{"none", Config{}, "need secrets"},
	} {
		_, err := newDeliverer(tc.cfg, 64)
		if (err == nil) != (tc.bad == "") || err != nil && !strings.Contains(err.Error(), tc.bad) {
			t.Errorf("%s: %v", tc.what, err)
		}
		if err != nil && strings.Contains(err.Error(), "whsec_!") {
			t.Errorf("%s: the secret is in the error", tc.what)
		}
	}
	c := Config{Keys: [][]byte{testKey}, Secrets: map[string][]string{"alice": {own}}}
	if len(c.signers("alice")) != 1 || len(c.signers("bob")) != 1 {
		t.Error("a tenant has other secrets than one")
	}
}

// TestRegister: by default endpoints must be https on port 443, and the metrics are in the processor's registry.
func TestRegister(t *testing.T) {
	reg := prometheus.NewRegistry()
	p, err := processor.New(processor.Config{}, processor.WithLogger(slog.New(slog.DiscardHandler)),
		processor.WithMetrics(reg))
	if err != nil {
		t.Fatal(err)
	}
	if err := Register(p, Config{Keys: [][]byte{testKey}}); err != nil {
		t.Fatal(err)
	}
	if n, err := testutil.GatherAndCount(reg, "ackwire_processor_webhook_attempts_total"); err != nil ||
		n != 1+len(codes) {
		t.Errorf("%d series of attempts, %v", n, err)
	}
	if err := Register(p, Config{Keys: [][]byte{testKey}}); err == nil {
		t.Error("registered twice")
	}
	if c := (Config{}).withDefaults(); c.Schemes[0] != "https" || c.Ports[0] != 443 || len(c.Allow) != 0 {
		t.Errorf("defaults are %+v", c)
	}
}

// TestAWebhookCarriesItsJobsTrace: the request has the trace context of the job.
func TestAWebhookCarriesItsJobsTrace(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header }))
	defer srv.Close()
	d := made(t, local())
	j := &processor.Job{ID: "wh-1", Tenant: "acme", Log: slog.New(slog.DiscardHandler)}
	ctx := tracing.With(t.Context(), tracing.Parse(parent, ""))
	if _, code, err := d.attempt(ctx, j, webhook.Request{URL: srv.URL, Body: json.RawMessage(`{}`)}); err != nil {
		t.Fatal(code, err)
	}
	if got.Get("Traceparent") != parent {
		t.Errorf("headers %v", got)
	}
}
