package command

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/service"
)

// asked is a command that has an operations listener and settings that are never valid.
type asked struct {
	ConfigFile
	OpsListen string            `help:"Operations." default:"127.0.0.1:1"`
	Health    HealthFlag        `help:"Ask." env:"-"`
	Ops       service.OpsConfig `embed:""`
}

func (asked) Validate() error { return errors.New("not valid") }

// askHealth parses args as main does and returns the exit code, -1 without one, and what was said.
func askHealth(t *testing.T, command any, args ...string) (code int, said string, err error) {
	t.Helper()
	code = -1
	var out strings.Builder
	p, err := kong.New(command, append(Options("thing", "A thing."), kong.Writers(&out, &out), kong.Exit(func(c int) {
		if code < 0 {
			code = c
		}
	}))...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Parse(args)
	return code, out.String(), err
}

func TestHealthAsksTheProcessBeside(t *testing.T) {
	var notReady error
	ops, err := service.NewOps(t.Context(), quietOS(), "127.0.0.1:0", service.OpsConfig{}, map[string]service.Ready{
		"thing": func() error { return notReady }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ops.Run(ctx) }()

	if code, said, _ := askHealth(t, &asked{}, "--health", "--ops-listen="+ops.Addr()); code != 0 || said != "" {
		t.Errorf("ready: exit code %d, %q", code, said)
	}
	notReady = errors.New("no tracker yet")
	t.Setenv("ACKWIRE_OPS_LISTEN", ops.Addr())
	if code, said, _ := askHealth(t, &asked{}, "--health"); code != ExitFailed || !strings.Contains(said, "thing: 503") ||
		!strings.Contains(said, "no tracker yet") {
		t.Errorf("not ready, address from the environment: exit code %d, %q", code, said)
	}
	if code, _, err := askHealth(t, &asked{}); code != -1 || err == nil {
		t.Errorf("without the flag nothing is asked: exit code %d, %v", code, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if code, said, _ := askHealth(t, &asked{}, "--health"); code != ExitFailed || !strings.Contains(said, "refused") {
		t.Errorf("nobody there: exit code %d, %q", code, said)
	}
	if code, said, _ := askHealth(t, &asked{}, "--health", "--ops-listen=nowhere"); code != ExitFailed ||
		!strings.Contains(said, "ops-listen") {
		t.Errorf("no address: exit code %d, %q", code, said)
	}
	if code, _, err := askHealth(t, &struct{ Health HealthFlag }{}, "--health"); code != -1 || err == nil {
		t.Errorf("a command without such a listener: exit code %d, %v", code, err)
	}
}

func TestAllAddressesMeanThisMachine(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{":" + u.Port(), "0.0.0.0:" + u.Port(), "[::]:" + u.Port(), u.Host} {
		if err := askReady(t.Context(), listen, false); err != nil {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

func TestVersionIsAFlagOfEveryCommand(t *testing.T) {
	t.Setenv("ACKWIRE_VERSION", "true") // a deployment's variable, not the flag's
	if code, said, _ := askHealth(t, &struct{}{}); code != -1 || said != "" {
		t.Errorf("the environment asked for it: exit code %d, %q", code, said)
	}
	if code, said, _ := askHealth(t, &struct{}{}, "--version"); code != 0 ||
		!strings.HasPrefix(said, "thing dev (revision ") {
		t.Errorf("exit code %d, %q", code, said)
	}
}

// TestHealthAsksWithTLS checks that a health check needs neither the token nor a certificate for the loopback address.
func TestHealthAsksWithTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certstest.NewCA(t).Files(dir, "ops", time.Hour, "ops.example")
	token := filepath.Join(dir, "token")
	certstest.Write(t, token, []byte("sixteen characters\n"))
	notReady := error(nil)
	ops, err := service.NewOps(t.Context(), quietOS(), "127.0.0.1:0",
		service.OpsConfig{Cert: cert, Key: key, TokenFile: token},
		map[string]service.Ready{"thing": func() error { return notReady }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- ops.Run(ctx) }()
	args := []string{"--health", "--ops-listen=" + ops.Addr(), "--ops-tls-cert=" + cert, "--ops-tls-key=" + key}
	if code, said, _ := askHealth(t, &asked{}, args...); code != 0 || said != "" {
		t.Errorf("ready: exit code %d, %q", code, said)
	}
	notReady = errors.New("no tracker yet")
	if code, said, _ := askHealth(t, &asked{}, args...); code != ExitFailed || !strings.Contains(said, "503") {
		t.Errorf("not ready: exit code %d, %q", code, said)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
