package service

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/certs/certstest"
)

// TestWhoMayAskWhat asks each route with and without the token, for each kind of settings.
func TestWhoMayAskWhat(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens")
	certstest.Write(t, file, []byte("the first of two tokens\nthe second of two tokens\n"))
	const reason = "no broker at 10.0.0.7"
	for _, c := range []struct {
		cfg                   OpsConfig
		listen, token, host   string
		metrics, pprof, ready int
		reasons               bool
	}{
		{OpsConfig{}, "127.0.0.1:8081", "", "localhost:8081", 200, 404, 503, true},
		{OpsConfig{Debug: true}, "127.0.0.1:8081", "", "127.0.0.1:8081", 200, 200, 503, true},
		{OpsConfig{Debug: true}, "[::1]:8081", "", "[::1]:8081", 200, 200, 503, true},
		{OpsConfig{Debug: true}, "localhost:8081", "", "", 200, 200, 503, true}, // HTTP/1.0 of a load balancer
		// A page whose own host name resolves to this machine.
		{OpsConfig{Debug: true}, "127.0.0.1:8081", "", "evil.example:8081", 403, 403, 403, false},
		{OpsConfig{Debug: true}, "0.0.0.0:8081", "", "gateway:8081", 200, 200, 503, true},
		{OpsConfig{TokenFile: file, Debug: true}, "0.0.0.0:8081", "", "gateway:8081", 401, 401, 503, false},
		{OpsConfig{TokenFile: file, Debug: true}, "0.0.0.0:8081", "another token, long", "gateway", 401, 401, 503, false},
		{OpsConfig{TokenFile: file, Debug: true}, "0.0.0.0:8081", "the first of two tokens", "gateway", 200, 200, 503, true},
		{OpsConfig{TokenFile: file, Debug: true}, "0.0.0.0:8081", "the second of two tokens", "gateway", 200, 200, 503, true},
		{OpsConfig{TokenFile: file}, "0.0.0.0:8081", "the first of two tokens", "gateway", 200, 404, 503, true},
		{OpsConfig{TokenFile: file}, "127.0.0.1:8081", "", "proxy.example", 403, 403, 403, false},
		{OpsConfig{TokenFile: file}, "127.0.0.1:8081", "the first of two tokens", "proxy.example", 200, 404, 503, true},
	} {
		a, err := c.cfg.access(quietOS(), c.listen)
		if err != nil {
			t.Fatal(err)
		}
		notReady := map[string]Ready{"gateway": func() error { return errReason(reason) }}
		o := &Ops{env: quietOS(), access: a, debug: c.cfg.Debug, probes: probes{parts: notReady}}
		for path, want := range map[string]int{
			"/metrics": c.metrics, "/debug/pprof/cmdline": c.pprof, "/readyz": c.ready, "/startupz": c.ready,
		} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = c.host
			if c.token != "" {
				r.Header.Set("Authorization", "Bearer "+c.token)
			}
			w := httptest.NewRecorder()
			o.handler().ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%+v %q: %s is %d, want %d", c.cfg, c.host, path, w.Code, want)
			}
			if path == "/readyz" && strings.Contains(w.Body.String(), reason) != c.reasons {
				t.Errorf("%+v %q: %s", c.cfg, c.host, w.Body)
			}
		}
	}
}

type errReason string

func (e errReason) Error() string { return string(e) }

// TestOpsWithTLS serves with a certificate that is renewed, and answers a plain client clearly.
func TestOpsWithTLS(t *testing.T) {
	dir, ca := t.TempDir(), certstest.NewCA(t)
	cert, key := ca.Files(dir, "ops", time.Hour, "127.0.0.1")
	o, err := NewOps(t.Context(), quietOS(), "127.0.0.1:0", OpsConfig{Cert: cert, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	transport := &http.Transport{TLSClientConfig: ca.Client(), DisableKeepAlives: true}
	for url, want := range map[string]int{"https://": http.StatusOK, "http://": http.StatusBadRequest} {
		r, err := (&http.Client{Transport: transport}).Get(url + o.Addr() + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if r.StatusCode != want || want != http.StatusOK && !strings.Contains(string(b), "HTTPS") {
			t.Errorf("%s: %s %s", url, r.Status, b)
		}
	}
	outdated := ca.Client()
	outdated.MinVersion, outdated.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	old, err := tls.Dial("tcp", o.Addr(), outdated)
	if err == nil {
		_ = old.Close()
		t.Error("TLS 1.1 is spoken")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestOpsFilesAreCheckedAtStart checks that a file that cannot be used stops the start, with its setting's name.
func TestOpsFilesAreCheckedAtStart(t *testing.T) {
	dir := t.TempDir()
	short := filepath.Join(dir, "short")
	certstest.Write(t, short, []byte("short\n"))
	for want, cfg := range map[string]OpsConfig{
		"ops-token-file: " + short + ": key 1 has 5 bytes": {TokenFile: short},
		"ops-tls-cert: stat " + dir + "/no":                {Cert: dir + "/no", Key: dir + "/no"},
		"must be set together":                             {Cert: short},
	} {
		_, err := NewOps(t.Context(), quietOS(), "127.0.0.1:0", cfg, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
