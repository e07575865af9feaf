package broker

import (
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/twmb/franz-go/pkg/kfake"
)

const warn = kfake.LogLevelWarn

var update = flag.Bool("update", false, "write the golden files anew")

// TestMetrics lints what /metrics shows of the broker and compares it with testdata
// (-update writes it again).
func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	newLogger(slog.New(slog.DiscardHandler), registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	var got strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			got.WriteString(strings.ToLower(f.GetType().String()) + " " + f.GetName())
			for _, l := range m.GetLabel() {
				got.WriteString(" " + l.GetName() + "=" + l.GetValue())
			}
			got.WriteString("\n")
		}
	}
	golden := filepath.Join("testdata", "metrics.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("what /metrics shows has changed (go test -update, and look at the difference):\n%s", got.String())
	}
}
