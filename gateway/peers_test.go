package gateway

import (
	"bytes"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// secured are the files of a gateway and of trackers that know each other by certificates and by a secret.
type secured struct {
	dir, caFile string
	ca          *certstest.CA
	gateway     peers.Config
	trackers    peers.Config
	log         *lines
}

// lines is a log that several goroutines write.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), part)
}

// inSecuredWorld is inWorld with mutual TLS and a secret between gateway and tracker.
func inSecuredWorld(t *testing.T, f func(*testing.T, *world, *secured)) {
	t.Helper()
	s := &secured{dir: t.TempDir(), log: &lines{}}
	inWorld(t, func(c *Config) { c.Internal = s.gateway }, func(t *testing.T, w *world) { f(t, w, s) }, func(w *world) {
		s.ca = certstest.NewCA(t)
		s.caFile = s.ca.File(s.dir, "ca.pem")
		for name, c := range map[string]*peers.Config{"gateway": &s.gateway, "tracker": &s.trackers} {
			c.CA, c.KeyFile = s.caFile, filepath.Join(s.dir, name+".secret")
			c.Cert, c.Key = s.ca.Files(s.dir, name, 24*time.Hour, "localhost")
			certstest.Write(t, c.KeyFile, []byte(strings.Repeat("a", 32)))
		}
		w.log = slog.New(slog.NewTextHandler(s.log, nil))
		var err error
		env := certs.Env{Log: w.log}
		if w.trackers, err = s.trackers.Server(env, meter.New(prometheus.NewRegistry(), "tracker")); err != nil {
			t.Fatal(err)
		}
	})
}

// TestSecretsAndCertificatesChangeUnderLoad changes the secret, both certificates and their authority in the documented
// steps, while a socket watches a job and others are asked for: nothing is refused, and no status is missed.
func TestSecretsAndCertificatesChangeUnderLoad(t *testing.T) {
	inSecuredWorld(t, func(t *testing.T, w *world, s *secured) {
		c := w.dial("")
		w.tracker.set("local", jobA, 1, job.Pending)
		c.send(`{"type":"subscribe","id":"s","jobs":[{"jobId":%q}]}`, jobA)
		c.want("the watch begins", frame.Subscribed)
		c.want("the state now", frame.Status)
		version := int64(1)
		read := func() int { return w.http(http.MethodGet, "/v1/jobs/"+jobA, nil, nil).status }
		goesOn := func(step string) {
			t.Helper()
			for range 30 {
				version++
				w.tracker.set("local", jobA, version, job.Processing)
				if g := c.want(step, frame.Status); g.Version != version {
					t.Fatalf("%s: version %d, want %d", step, g.Version, version)
				}
				if status := read(); status != http.StatusOK {
					t.Fatalf("%s: %d", step, status)
				}
				time.Sleep(100 * time.Millisecond)
			}
			if err := w.gateway.Ready(); err != nil {
				t.Fatalf("%s: not ready: %v", step, err)
			}
		}
		a, b := strings.Repeat("a", 32)+"\n", strings.Repeat("b", 32)+"\n"
		for _, step := range []string{a + b, b + a, b} {
			for _, file := range []string{s.gateway.KeyFile, s.trackers.KeyFile} {
				certstest.Write(t, file, []byte(step))
				goesOn("secret")
			}
		}
		next := certstest.NewCA(t)
		certstest.Write(t, s.caFile, append(bytes.Clone(s.ca.PEM), next.PEM...))
		goesOn("two authorities")
		for _, name := range []string{"gateway", "tracker"} {
			next.Files(s.dir, name, 24*time.Hour, "localhost")
			goesOn(name + "'s certificate")
			w.net.Host("tracker").Cut() // all connections are made anew
			w.net.Host("tracker").Heal()
			w.eventually("ready again", func() bool { return w.gateway.Ready() == nil && read() == http.StatusOK })
			w.eventually("watched again", func() bool { return w.tracker.watches() == 1 })
			goesOn("new connections")
		}
		certstest.Write(t, s.caFile, next.PEM)
		goesOn("one authority")
		if n := s.log.count("refused"); n != 0 {
			t.Errorf("%d calls were refused", n)
		}
	})
}

// TestARefusedGatewayIsNotReady gives a gateway another secret than the trackers', and the right one again.
func TestARefusedGatewayIsNotReady(t *testing.T) {
	inSecuredWorld(t, func(t *testing.T, w *world, s *secured) {
		w.eventually("the gateway has a stream", func() bool { return w.gateway.up.Streams() == 1 })
		w.tracker.set("local", jobA, 1, job.Pending)
		read := func() int { return w.http(http.MethodGet, "/v1/jobs/"+jobA, nil, nil).status }
		for _, c := range []struct{ what, reason, log string }{
			{
				"a wrong secret", "the shared secret is another one: internal-key-file differs",
				"the shared secret is another one",
			},
			{"another authority's certificate", "it refuses the certificate or the TLS of this process", "unknown authority"},
		} {
			if c.what == "a wrong secret" {
				certstest.Write(t, s.gateway.KeyFile, []byte(strings.Repeat("x", 32)))
			} else {
				certstest.NewCA(t).Files(s.dir, "gateway", time.Hour, "localhost")
				time.Sleep(2 * time.Second)
				w.net.Host("tracker").Cut()
				w.net.Host("tracker").Heal()
			}
			time.Sleep(2 * time.Second)
			if status := read(); status != http.StatusServiceUnavailable {
				t.Errorf("%s: a job's status is answered with %d", c.what, status)
			}
			err := w.gateway.Ready()
			if err == nil || !strings.Contains(err.Error(), "tracker https://localhost:8090 cannot be used: ") ||
				!strings.Contains(err.Error(), c.reason) {
				t.Errorf("%s: %v", c.what, err)
			}
			time.Sleep(time.Minute)
			if n := s.log.count(`level=ERROR msg="tracker cannot be used"`); n != 1 {
				t.Errorf("%s: the gateway says it %d times", c.what, n)
			}
			if n := s.log.count(c.log); n < 2 {
				t.Errorf("%s: not both sides say why", c.what)
			}
			certstest.Write(t, s.gateway.KeyFile, []byte(strings.Repeat("a", 32)))
			s.ca.Files(s.dir, "gateway", 24*time.Hour, "localhost")
			w.eventually("mended", func() bool { return w.gateway.Ready() == nil })
			if status := read(); status != http.StatusOK {
				t.Errorf("%s, mended: %d", c.what, status)
			}
			s.log.mu.Lock()
			s.log.b.Reset()
			s.log.mu.Unlock()
		}
	})
}
