package process

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/service"
)

// startBroker starts an embedded broker in this process and returns its address.
func startBroker(t *testing.T) string {
	t.Helper()
	b, err := broker.Start(t.Context(), broker.Config{Data: t.TempDir(), Listen: "127.0.0.1:0"},
		service.OS(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return b.Addr()
}

// TestGatewaysAndTrackersKnowEachOther runs them with certificates of both sides and a secret. A tracker is killed and
// the certificates and the secret change under load; then a gateway has a wrong secret, until its file is mended.
func TestGatewaysAndTrackersKnowEachOther(t *testing.T) {
	dir, ca, kafka := t.TempDir(), certstest.NewCA(t), startBroker(t)
	a, b := strings.Repeat("a", 32)+"\n", strings.Repeat("b", 32)+"\n"
	flags := func(name string, more ...string) []string {
		cert, key := ca.Files(dir, name, time.Hour, "127.0.0.1")
		secret := filepath.Join(dir, name+".secret")
		certstest.Write(t, secret, []byte(a))
		return append(more, "--kafka", kafka, "--internal-tls-cert", cert, "--internal-tls-key", key,
			"--internal-tls-ca", ca.File(dir, "ca.pem"), "--internal-key-file", secret)
	}
	at := addrs(t, 9)
	gateway := func(listen, ops string) []string {
		return []string{"--listen", listen, "--ops-listen", ops, "--anonymous-tenant", "local"}
	}
	var trackers []*proc
	for i, name := range []string{"tracker-0", "tracker-1"} {
		api, ops := at[2*i], at[2*i+1]
		trackers = append(trackers, start(t, "tracker", ops, flags(name, "--data", t.TempDir(), "--tracker-listen", api,
			"--ops-listen", ops, "--tracker-session-timeout", "6s", "--tracker-no-view")...))
	}
	start(t, "gateway", at[5], flags("gateway", gateway(at[4], at[5])...)...)
	start(t, "processor", at[6], "--kafka", kafka, "--lanes", "default,reports", "--demo", "--ops", at[6])
	load(t, "http://"+at[4], func() {
		trackers[0].kill()
		for _, step := range []string{a + b, b + a, b} {
			for _, name := range []string{"gateway", "tracker-0", "tracker-1"} {
				certstest.Write(t, filepath.Join(dir, name+".secret"), []byte(step))
				ca.Files(dir, name, time.Hour, "127.0.0.1")
			}
			if step != b {
				settle(t)
			}
		}
		trackers[0].start()
		trackers[0].waitReady()
	})

	// A gateway whose secret is another one.
	wrong := &proc{
		t: t, name: "gateway", args: flags("other", gateway(at[7], at[8])...), ready: "http://" + at[8] + "/readyz",
		log: &tail{},
	}
	wrong.start()
	t.Cleanup(wrong.kill)
	within(t, startWithin, "the gateway says why it is not ready", func() bool {
		resp, err := http.Get(wrong.ready)
		if err != nil {
			return false
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(body), "internal-key-file differs")
	})
	if !slices.ContainsFunc(trackers, func(p *proc) bool { return strings.Contains(p.log.String(), "call refused") }) {
		t.Error("no tracker says that it refuses a gateway")
	}
	certstest.Write(t, filepath.Join(dir, "other.secret"), []byte(b))
	wrong.waitReady()
}

// settle waits until every process has read its files again.
func settle(t *testing.T) {
	t.Helper()
	until := time.Now().Add(3 * time.Second)
	within(t, startWithin, "files are read", func() bool { return time.Now().After(until) })
}
