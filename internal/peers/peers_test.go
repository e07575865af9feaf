package peers

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/simnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server of an API with the checks, on a network of its own.
type world struct {
	t      *testing.T
	net    *simnet.Host
	server *Server
	log    *logged
}

// logged is a log that is written by several goroutines.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *logged) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

const host = "tracker.example"

// serve starts a server with settings. It stops with the test's bubble.
func serve(t *testing.T, c Config) *world {
	t.Helper()
	w := &world{t: t, net: simnet.New().Host("a"), log: &logged{}}
	var err error
	env := certs.Env{Log: slog.New(slog.NewTextHandler(w.log, nil))}
	if w.server, err = c.Server(env, meter.New(prometheus.NewRegistry(), "tracker"), host); err != nil {
		t.Fatal(err)
	}
	l, err := w.net.Listen(t.Context(), "tcp", "localhost:8090")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Protocols: protocols, ErrorLog: w.server.ErrorLog(),
		Handler: w.server.Handler(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(out, r.Proto)
		})),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(w.server.Listener(simnet.BufferedListener(l))) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return w
}

func (w *world) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	c, err := w.net.Dial(ctx, network, "localhost:8090")
	if err != nil {
		return nil, err
	}
	return simnet.Buffered(c), nil
}

// call makes one call over a new connection, as a gateway with settings does.
func (w *world) call(c Config) (string, error) {
	w.t.Helper()
	client, err := c.Client(certs.Env{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	body, told, err := w.callBy(client)
	refused, isRefused := errors.AsType[*RefusedError](err)
	if err == nil && (told == nil || *told != nil) || isRefused && (told == nil || !errors.Is(*told, refused)) {
		w.t.Errorf("%v, but told %v", err, told)
	}
	return body, err
}

// callBy makes one call over a new connection. told is what the transport has told, if anything.
func (w *world) callBy(client *Client) (body string, told *error, err error) {
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols: protocols, DialContext: w.dial,
		DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := w.dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return client.TLS(ctx, conn, address)
		},
	}
	defer transport.CloseIdleConnections()
	scheme := "http"
	if w.server.TLS() {
		scheme = "https"
	}
	note := func(_ *url.URL, err error) { told = &err }
	hc := http.Client{Transport: &Transport{Client: client, HTTP: transport, Told: note}}
	resp, err := hc.Get(scheme + "://" + host + ":8090/")
	if err != nil {
		return "", told, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return string(b), told, err
}

// pki has two authorities, and the files of what they have signed.
type pki struct {
	dir        string
	ca, others *certstest.CA
	caFile     string
	otherFile  string
	server     Config // with a certificate, for host
	client     Config // with a certificate
	stranger   Config // with a certificate of the other authority
	ended      Config // with a certificate that ends within a minute
	secret     string // file
	wrong      string // file with another secret
}

func newPKI(t *testing.T) *pki {
	t.Helper()
	p := &pki{dir: t.TempDir(), ca: certstest.NewCA(t), others: certstest.NewCA(t)}
	p.caFile, p.otherFile = p.ca.File(p.dir, "ca.pem"), p.others.File(p.dir, "other.pem")
	p.secret, p.wrong = filepath.Join(p.dir, "secret"), filepath.Join(p.dir, "wrong")
	certstest.Write(t, p.secret, []byte(strings.Repeat("s", 32)+"\n"))
	certstest.Write(t, p.wrong, []byte(strings.Repeat("w", 32)+"\n"))
	p.server.Cert, p.server.Key = p.ca.Files(p.dir, "server", time.Hour, host)
	p.client = Config{CA: p.caFile}
	p.stranger, p.ended = p.client, p.client
	p.client.Cert, p.client.Key = p.ca.Files(p.dir, "client", time.Hour)
	p.stranger.Cert, p.stranger.Key = p.others.Files(p.dir, "stranger", time.Hour)
	p.ended.Cert, p.ended.Key = p.ca.Files(p.dir, "ended", time.Minute)
	return p
}

// TestWhoMayCall makes calls with each kind of settings to servers with each kind.
func TestWhoMayCall(t *testing.T) {
	for _, c := range []struct {
		what           string
		server, client func(p *pki) Config
		want           string // part of the error; "" if the call is served
		said           string // part of the server's log; "" if it logs nothing
		reason         string
	}{
		{"nothing", func(*pki) Config { return Config{} }, func(*pki) Config { return Config{} }, "", "", ""},
		{
			"the secret", func(p *pki) Config { return Config{KeyFile: p.secret} },
			func(p *pki) Config { return Config{KeyFile: p.secret} }, "", "", "",
		},
		{
			"no secret", func(p *pki) Config { return Config{KeyFile: p.secret} },
			func(*pki) Config { return Config{} },
			"it refuses this process: the shared secret is missing", "is missing", noSecret,
		},
		{
			"another secret", func(p *pki) Config { return Config{KeyFile: p.secret} },
			func(p *pki) Config { return Config{KeyFile: p.wrong} }, "internal-key-file differs", "is another one", bySecret,
		},
		{
			"a secret that nobody asks for", func(*pki) Config { return Config{} },
			func(p *pki) Config { return Config{KeyFile: p.secret} }, "", "", "",
		},
		{
			"TLS", func(p *pki) Config { return p.server },
			func(p *pki) Config { return Config{CA: p.caFile} }, "", "", "",
		},
		{
			"TLS by an unknown authority", func(p *pki) Config { return p.server },
			func(p *pki) Config { return Config{CA: p.otherFile} },
			"its certificate is not accepted: x509: certificate signed by unknown authority", "bad certificate", handshake,
		},
		{
			"TLS by another name", func(p *pki) Config { return p.server },
			func(p *pki) Config { return Config{CA: p.caFile, ServerName: "gateway.example"} },
			"valid for tracker.example, not gateway.example", "bad certificate", handshake,
		},
		{
			"both certificates", func(p *pki) Config { s := p.server; s.CA = p.caFile; return s },
			func(p *pki) Config { return p.client }, "", "", "",
		},
		{
			"both certificates and the secret",
			func(p *pki) Config { s := p.server; s.CA, s.KeyFile = p.caFile, p.secret; return s },
			func(p *pki) Config { c := p.client; c.KeyFile = p.secret; return c }, "", "", "",
		},
		{
			"both certificates and another secret",
			func(p *pki) Config { s := p.server; s.CA, s.KeyFile = p.caFile, p.secret; return s },
			func(p *pki) Config { c := p.client; c.KeyFile = p.wrong; return c },
			"internal-key-file differs", "is another one", bySecret,
		},
		{
			"no certificate of the caller", func(p *pki) Config { s := p.server; s.CA = p.caFile; return s },
			func(p *pki) Config { return Config{CA: p.caFile} },
			"certificate required (see internal-tls-cert)", "client didn't provide a certificate", handshake,
		},
		{
			"a caller's certificate by another authority", func(p *pki) Config { s := p.server; s.CA = p.caFile; return s },
			func(p *pki) Config { return p.stranger },
			"it refuses the certificate or the TLS of this process", "unknown authority", handshake,
		},
		{
			"plain, with certificates", func(*pki) Config { return Config{} },
			func(p *pki) Config { return p.client }, "it does not speak TLS", "", "",
		},
		{
			"plain, with certificates, allowed", func(*pki) Config { return Config{} },
			func(p *pki) Config { c := p.client; c.Insecure = true; return c }, "", "", "",
		},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				p := newPKI(t)
				w := serve(t, c.server(p))
				body, err := w.call(c.client(p))
				synctest.Wait()
				switch {
				case c.want == "" && (err != nil || body != "HTTP/2.0"):
					t.Errorf("%q, %v", body, err)
				case c.want != "":
					if _, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), c.want) {
						t.Errorf("%v, want %q", err, c.want)
					}
				}
				lines := strings.Count(w.log.String(), "\n")
				if c.said == "" && lines > 0 || c.said != "" && (lines != 1 || !strings.Contains(w.log.String(), c.said)) {
					t.Errorf("the server says %q, want %q", w.log.String(), c.said)
				}
				if c.reason != "" && testutil.ToFloat64(w.server.refusals.WithLabelValues(c.reason)) != 1 {
					t.Error("not counted")
				}
			})
		})
	}
}

// TestAnEndedCertificate checks both sides when a certificate that was read ends.
func TestAnEndedCertificate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPKI(t)
		s := p.server
		s.CA = p.caFile
		w := serve(t, s)
		client, err := p.ended.Client(certs.Env{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := w.callBy(client); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		if _, _, err := w.callBy(client); err == nil || !strings.Contains(err.Error(), "expired certificate") {
			t.Errorf("with an ended certificate: %v", err)
		}
		p.ca.Files(p.dir, "ended", time.Hour)
		time.Sleep(2 * time.Second)
		if _, _, err := w.callBy(client); err != nil {
			t.Errorf("renewed: %v", err)
		}
		time.Sleep(2 * time.Hour) // the server's has ended
		if _, err := w.call(Config{CA: p.caFile}); err == nil || !strings.Contains(err.Error(), "has expired") {
			t.Errorf("the server's certificate has ended: %v", err)
		}
	})
}

// TestTheSecretChanges changes the secret in the three documented steps, while calls go on, and then to a wrong one and
// back.
func TestTheSecretChanges(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPKI(t)
		before, after := strings.Repeat("s", 32)+"\n", strings.Repeat("t", 32)+"\n"
		theirs := filepath.Join(p.dir, "theirs")
		certstest.Write(t, theirs, []byte(before))
		w := serve(t, Config{KeyFile: p.secret})
		client, err := Config{KeyFile: theirs}.Client(certs.Env{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []string{before + after, after + before, after} {
			for _, file := range []string{theirs, p.secret} { // one has the step for longer than the other
				certstest.Write(t, file, []byte(step))
				for range 20 {
					time.Sleep(100 * time.Millisecond)
					if _, _, err := w.callBy(client); err != nil {
						t.Fatalf("at step %q of %s: %v", step, file, err)
					}
				}
			}
		}
		certstest.Write(t, theirs, []byte(before))
		time.Sleep(2 * time.Second)
		if _, _, err := w.callBy(client); err == nil {
			t.Fatal("the old secret is still accepted")
		}
		certstest.Write(t, theirs, []byte(after))
		time.Sleep(2 * time.Second)
		if _, _, err := w.callBy(client); err != nil {
			t.Errorf("mended: %v", err)
		}
	})
}

// TestPagesMayNotCall checks that a page cannot reach the API of a server without a secret: neither one of another
// site, nor one whose own host name resolves to this machine (DNS rebinding).
func TestPagesMayNotCall(t *testing.T) {
	w := serveForRequests(t)
	for _, c := range []struct {
		host, header, value string
		want                int
	}{
		{"127.0.0.1:8090", "", "", http.StatusOK},
		{"[::1]:8090", "", "", http.StatusOK},
		{"10.1.2.3", "", "", http.StatusOK},
		{"LOCALHOST:8090", "", "", http.StatusOK},
		{host + ":8090", "", "", http.StatusOK},
		{"evil.example:8090", "", "", http.StatusForbidden},
		{"localhost.evil.example", "", "", http.StatusForbidden},
		{"127.0.0.1.evil.example:8090", "", "", http.StatusForbidden},
		{"", "", "", http.StatusForbidden},
		{"127.0.0.1:8090", "Origin", "http://127.0.0.1:3000", http.StatusForbidden},
		{"127.0.0.1:8090", "Origin", "null", http.StatusForbidden},
		{"127.0.0.1:8090", "Sec-Fetch-Site", "same-origin", http.StatusForbidden},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = c.host
		if c.header != "" {
			r.Header.Set(c.header, c.value)
		}
		reason, _, status := w.refuses(r)
		if reason == "" {
			status = http.StatusOK
		}
		if status != c.want {
			t.Errorf("host %q, %s %q: %s %d", c.host, c.header, c.value, reason, status)
		}
	}
}

func serveForRequests(t *testing.T) *Server {
	t.Helper()
	env := certs.Env{Log: slog.New(slog.DiscardHandler)}
	s, err := Config{}.Server(env, meter.New(prometheus.NewRegistry(), "x"), host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestPlainAtATLSPort checks that a client without TLS gets a clear answer.
func TestPlainAtATLSPort(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := serve(t, newPKI(t).server)
		transport := &http.Transport{DialContext: w.dial}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("http://" + host + ":8090/")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(b), "HTTPS server") {
			t.Errorf("%s %s", resp.Status, b)
		}
	})
}

// TestRefusalsAreSaidSeldom checks that a flood of refused calls makes few lines.
func TestRefusalsAreSaidSeldom(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPKI(t)
		w := serve(t, Config{KeyFile: p.secret})
		for range 100 {
			_, _ = w.call(Config{})
			time.Sleep(time.Second)
		}
		if n := strings.Count(w.log.String(), "\n"); n != 10 || !strings.Contains(w.log.String(), "more=9") {
			t.Errorf("%d lines: %s", n, w.log.String())
		}
	})
}

// TestResumedSessionsAreChecked checks that a client whose authority has been taken away is refused even with a session
// that it had before.
func TestResumedSessionsAreChecked(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := newPKI(t)
		s := p.server
		s.CA = filepath.Join(p.dir, "both.pem")
		certstest.Write(t, s.CA, append(bytes.Clone(p.ca.PEM), p.others.PEM...))
		w := serve(t, s)
		pair, err := tls.LoadX509KeyPair(p.stranger.Cert, p.stranger.Key)
		if err != nil {
			t.Fatal(err)
		}
		cfg := p.ca.Client()
		cfg.ServerName, cfg.Certificates = host, []tls.Certificate{pair}
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
		try := func() error {
			conn, err := w.dial(t.Context(), "tcp", "")
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			c := tls.Client(conn, cfg)
			if _, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n"); err != nil {
				return err
			}
			_, err = io.ReadAll(c)
			return err
		}
		if err := try(); err != nil {
			t.Fatal(err)
		}
		certstest.Write(t, s.CA, p.ca.PEM)
		time.Sleep(2 * time.Second)
		_ = w.server.authorities.Get()
		if err := try(); err == nil {
			t.Error("a session of an authority that was taken away is accepted")
		}
	})
}
