package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// withTLS runs a test of a gateway with TLS on loopback.
func withTLS(t *testing.T, configure func(*Config), f func(*testing.T, *world, *certstest.CA)) {
	t.Helper()
	dir, ca := t.TempDir(), certstest.NewCA(t)
	onLoopback(t, func(c *Config) {
		c.Cert, c.Key = ca.Files(dir, "gateway", time.Hour, "localhost", "127.0.0.1")
		if configure != nil {
			configure(c)
		}
	}, func(t *testing.T, w *world) { f(t, w, ca) })
}

// browser is an HTTP client that offers HTTP/2, as browsers do.
func browser(ca *certstest.CA) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Client(), ForceAttemptHTTP2: true}}
}

func (w *world) secureURL(path string) string { return "https://" + w.gateway.Addr() + path }

// TestTLSSpeaksHTTP2AndSockets makes requests over HTTP/2 and HTTP/1.1, and opens a socket with the client that spoke
// HTTP/2 before.
func TestTLSSpeaksHTTP2AndSockets(t *testing.T) {
	withTLS(t, nil, func(t *testing.T, w *world, ca *certstest.CA) {
		w.startTracker()
		two := browser(ca)
		defer two.CloseIdleConnections()
		one := &http.Client{Transport: &http.Transport{TLSClientConfig: ca.Client()}}
		defer one.CloseIdleConnections()
		for client, major := range map[*http.Client]int{two: 2, one: 1} {
			for range 3 {
				r, err := client.Get(w.secureURL("/v1/nothing"))
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(r.Body)
				_ = r.Body.Close()
				if r.ProtoMajor != major || r.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "not_found") {
					t.Errorf("HTTP/%d: %s %s", major, r.Status, body)
				}
			}
		}
		// An event stream over HTTP/2.
		w.tracker.set("local", jobA, 1, job.Pending)
		ctx, cancel := context.WithTimeout(t.Context(), settled)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.secureURL("/v1/jobs/"+jobA+"/events"), nil)
		if err != nil {
			t.Fatal(err)
		}
		stream, err := two.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if stream.ProtoMajor != 2 || stream.StatusCode != http.StatusOK {
			t.Fatalf("%s %s", stream.Proto, stream.Status)
		}
		events := bufio.NewScanner(stream.Body)
		for version := int64(1); version < 10; version++ {
			w.tracker.set("local", jobA, version+1, job.Processing)
			id := fmt.Sprintf("id: %d", version+1)
			found := false
			for !found && events.Scan() {
				found = events.Text() == id
			}
			if !found {
				t.Fatalf("the stream ended before %q: %v", id, events.Err())
			}
		}
		_ = stream.Body.Close()

		ws, _, err := websocket.Dial(t.Context(), "wss://"+w.gateway.Addr()+"/v1/ws", &websocket.DialOptions{
			HTTPClient: two, Subprotocols: []string{frame.Protocol},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		if _, b, err := ws.Read(ctx); err != nil || !strings.Contains(string(b), "welcome") {
			t.Errorf("%s, %v", b, err)
		}
		for n := range 20 { // more than one write at a time
			if err := ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ping","id":"%d"}`, n)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 20 {
			if _, b, err := ws.Read(ctx); err != nil || !strings.Contains(string(b), fmt.Sprintf(`"id":"%d"`, n)) {
				t.Fatalf("%s, %v", b, err)
			}
		}
		// A handshake of a socket over HTTP/2 (without RFC 8441) is told what to do.
		r, err := two.Get(w.secureURL("/v1/ws"))
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusUpgradeRequired {
			t.Errorf("a socket's route over HTTP/2: %s", r.Status)
		}
	})
}

// TestPlainClientsAreTold checks that a client without TLS gets a problem that says so, and old TLS an alert.
func TestPlainClientsAreTold(t *testing.T) {
	withTLS(t, nil, func(t *testing.T, w *world, ca *certstest.CA) {
		r, err := http.Post("http://"+w.gateway.Addr()+"/v1/jobs", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != http.StatusBadRequest || r.Header.Get("Content-Type") != "application/problem+json" ||
			!strings.Contains(string(body), "this port speaks TLS: use https:// or wss://") {
			t.Errorf("%s %s", r.Status, body)
		}
		old := ca.Client()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		if c, err := tls.Dial("tcp", w.gateway.Addr(), old); err == nil {
			_ = c.Close()
			t.Error("TLS 1.1 is spoken")
		}
		if n := w.gauge("ackwire_gateway_tls_handshakes_total", "plain"); n != 1 {
			t.Errorf("%v plain clients are counted", n)
		}
	})
}

// TestHandshakesAreBounded checks that clients that do not end their handshakes count as strangers, of which the oldest
// make room, and that a handshake has a bound in bytes.
func TestHandshakesAreBounded(t *testing.T) {
	const most = 5
	withTLS(t, func(c *Config) { c.Strangers = most }, func(t *testing.T, w *world, ca *certstest.CA) {
		var slow []net.Conn
		for range 3 * most {
			c, err := net.Dial("tcp", w.gateway.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			if _, err := c.Write([]byte{22, 3, 1}); err != nil { // the beginning of a handshake
				t.Fatal(err)
			}
			slow = append(slow, c)
		}
		w.eventually("the oldest are closed", func() bool {
			return w.gauge("ackwire_gateway_strangers") == most && w.gauge("ackwire_gateway_http_connections") == most
		})
		_ = slow[0].SetReadDeadline(time.Now().Add(settled))
		if _, err := slow[0].Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
			t.Errorf("the oldest: %v", err)
		}
		client := browser(ca)
		defer client.CloseIdleConnections()
		r, err := client.Get(w.secureURL("/v1/jobs/" + jobA))
		if err != nil {
			t.Fatalf("a client beside them: %v", err)
		}
		_ = r.Body.Close()

		c, err := net.Dial("tcp", w.gateway.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		// A ClientHello of 60,000 bytes, in records of 16,000.
		hello := append([]byte{1, 0, 60_000 >> 8, 60_000 & 0xff}, make([]byte, 60_000)...)
		for len(hello) > 0 {
			part := hello[:min(len(hello), 16_000)]
			hello = hello[len(part):]
			record := binary.BigEndian.AppendUint16([]byte{22, 3, 1}, uint16(len(part)))
			if _, err := c.Write(append(record, part...)); err != nil {
				break
			}
		}
		w.eventually("the large handshake is refused", func() bool {
			return w.gauge("ackwire_gateway_tls_handshakes_total", "too_large") == 1
		})
	})
}

// TestTheListenersCertificateIsRenewed renews the certificate while a socket is open: new connections get the new one,
// and the socket stays. Then the files break, and the last good certificate stays.
func TestTheListenersCertificateIsRenewed(t *testing.T) {
	var dir string
	withTLS(t, func(c *Config) { dir = filepath.Dir(c.Cert) }, func(t *testing.T, w *world, ca *certstest.CA) {
		client := browser(ca)
		defer client.CloseIdleConnections()
		ws, _, err := websocket.Dial(t.Context(), "wss://"+w.gateway.Addr()+"/v1/ws", &websocket.DialOptions{
			HTTPClient: client, Subprotocols: []string{frame.Protocol},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = ws.CloseNow() }()
		shown := func() string {
			c, err := tls.Dial("tcp", w.gateway.Addr(), ca.Client())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
		}
		first := shown()
		ca.Files(dir, "gateway", time.Hour, "localhost", "127.0.0.1")
		w.eventually("the new certificate is shown", func() bool { return shown() != first })
		second := shown()
		certstest.Write(t, filepath.Join(dir, "gateway.key"), []byte("no key"))
		w.eventually("the metric says it", func() bool { return w.gauge("ackwire_file_unusable", "tls-cert") == 1 })
		if shown() != second {
			t.Error("the last good certificate is not shown")
		}
		ctx, cancel := context.WithTimeout(t.Context(), settled)
		defer cancel()
		if err := ws.Write(ctx, websocket.MessageText, []byte(`{"type":"ping","id":"1"}`)); err != nil {
			t.Fatal(err)
		}
		for {
			_, b, err := ws.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(b), "pong") {
				break
			}
		}
	})
}

// TestTLSFilesAreCheckedAtStart checks that a gateway with unusable files does not start, with one line.
func TestTLSFilesAreCheckedAtStart(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewCA(t)
	cert, key := ca.Files(dir, "a", time.Hour)
	_, other := ca.Files(dir, "b", time.Hour)
	ended, endedKey := ca.Files(dir, "c", -time.Minute)
	for want, files := range map[string][2]string{
		"tls-cert and tls-key must be set together": {cert, ""},
		"private key does not match public key":     {cert, other},
		"no such file":                              {cert, key + ".missing"},
		"the certificate ended at":                  {ended, endedKey},
	} {
		cfg := Defaults()
		cfg.Kafka.Brokers, cfg.Auth.Key = []string{"b:9092"}, testKey
		cfg.Cert, cfg.Key = files[0], files[1]
		_, err := New(cfg, (&world{t: t}).env("gateway", prometheus.NewRegistry()))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestRequestsOfHTTP2AreBounded checks that event streams over one connection count as those of many would.
func TestRequestsOfHTTP2AreBounded(t *testing.T) {
	const most = 3
	withTLS(t, func(c *Config) { c.Connections = most }, func(t *testing.T, w *world, ca *certstest.CA) {
		w.startTracker()
		w.tracker.set("local", jobA, 1, job.Pending)
		client := browser(ca)
		defer client.CloseIdleConnections()
		for n := range most + 1 {
			r, err := client.Get(w.secureURL("/v1/jobs/" + jobA + "/events"))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Body.Close() }()
			want := http.StatusOK
			if n == most {
				want = http.StatusServiceUnavailable
			}
			if r.ProtoMajor != 2 || r.StatusCode != want {
				t.Errorf("stream %d: %s %s, want %d", n, r.Proto, r.Status, want)
			}
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "connections"); n != 1 {
			t.Errorf("%v are counted", n)
		}
	})
}
