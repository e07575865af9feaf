package bench

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// asBare makes this binary the bare server.
const asBare = "ACKWIRE_BARE_SERVER"

// bareTest returns the command that makes this binary the bare server.
func bareTest(ctx context.Context) (*exec.Cmd, error) {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asBare+"=1")
	return cmd, nil
}

// buildGateway returns the gateway's binary.
func buildGateway(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "gateway")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../../gateway/cmd/gateway")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestAnEdgeOfAFew: what is measured is not looked at, only that all was seen and counted.
func TestAnEdgeOfAFew(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	cfg := EdgeConfig{
		Gateway: buildGateway(t), Sockets: 5, Rate: 50, Shared: 10, Duration: 2 * time.Second, Rounds: 2,
	}
	r, err := Edge(t.Context(), cfg, slog.New(slog.DiscardHandler), bareTest)
	if err != nil {
		t.Fatal(err)
	}
	if r.Own.Count != 100 || r.Shared.Count != 100 || r.Own.Bytes < 300 || r.Latency.Count != 100 || r.Calm.Count != 100 ||
		r.Stalled.Count != 100 {
		t.Errorf("%+v", r)
	}
	for _, a := range []Accepts{r.BareAccept, r.Accept, r.JWT} {
		if a.Count == 0 || a.PerSecond <= 0 {
			t.Errorf("%+v", a)
		}
	}
	var out bytes.Buffer
	if r.Print(&out); strings.Count(out.String(), "\n") < 12 {
		t.Error(out.String())
	}
}

func TestEdgeRefusesWhatCannotBeMeasured(t *testing.T) {
	fine := EdgeConfig{Sockets: 1, Rate: 1, Shared: 1, Duration: time.Second, Rounds: 1}
	for name, change := range map[string]func(*EdgeConfig){
		"sockets":  func(c *EdgeConfig) { c.Sockets = 0 },
		"rate":     func(c *EdgeConfig) { c.Rate = 0 },
		"shared":   func(c *EdgeConfig) { c.Shared = -1 },
		"duration": func(c *EdgeConfig) { c.Duration = 0 },
		"rounds":   func(c *EdgeConfig) { c.Rounds = 0 },
	} {
		cfg := fine
		change(&cfg)
		if _, err := Edge(t.Context(), cfg, slog.New(slog.DiscardHandler), nil); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The verdicts: a goal that was not measured is not met.
func TestTheVerdictsOfAnEdge(t *testing.T) {
	for want, r := range map[string]EdgeReport{
		"goal 1.2x: met":          {Shared: Delivery{Ratio: 1.2}},
		"goal 1.2x: missed":       {Shared: Delivery{Ratio: 1.21}},
		"goal 1.1x: met":          {Calm: Summary{P99: 2}, Stalled: Summary{P99: 2.2}},
		"goal 1.1x: missed":       {Calm: Summary{P99: 2}, Stalled: Summary{P99: 2.3}},
		"goal 1.1x: not measured": {},
	} {
		var out bytes.Buffer
		if r.Print(&out); !strings.Contains(out.String(), want) {
			t.Errorf("want %q in\n%s", want, out.String())
		}
	}
}
