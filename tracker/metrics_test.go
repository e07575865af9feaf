package tracker

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/ackwire/ackwire/schemas/topic"
)

var update = flag.Bool("update", false, "write the golden files anew")

func newNetwork() *kfake.VirtualNetwork { return &kfake.VirtualNetwork{} }

// metric is one of an instance's metrics, found by name.
type metric struct {
	prometheus.Collector
	value float64
}

func (m metric) Describe(c chan<- *prometheus.Desc) {
	c <- prometheus.NewDesc("value", "", nil, nil)
}

func (m metric) Collect(c chan<- prometheus.Metric) {
	c <- prometheus.MustNewConstMetric(prometheus.NewDesc("value", "", nil, nil), prometheus.GaugeValue, m.value)
}

// gauge returns a metric; with a label's value the one of a vector that has it.
func (i *instance) gauge(name string, label ...string) prometheus.Collector {
	i.w.t.Helper()
	families, err := i.metrics.Gather()
	if err != nil {
		i.w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				if len(label) == 0 || m.GetLabel()[0].GetValue() == label[0] {
					return metric{value: m.GetGauge().GetValue() + m.GetCounter().GetValue()}
				}
			}
		}
	}
	i.w.t.Fatalf("no metric %s", name)
	return nil
}

// TestMetrics lints what /metrics shows and compares names, types and label values with
// testdata (-update writes it again).
func TestMetrics(t *testing.T) {
	w := &world{t: t, net: newNetwork(), names: topic.Names{Prefix: "t."}}
	registry := prometheus.NewPedanticRegistry()
	if _, err := New(w.config(8090, vfs.NewMem()), w.env(registry)); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		for _, m := range f.GetMetric() {
			line := strings.ToLower(f.GetType().String()) + " " + f.GetName()
			for _, l := range m.GetLabel() {
				line += " " + l.GetName() + "=" + l.GetValue()
			}
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	golden := filepath.Join("testdata", "metrics.golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("what /metrics shows has changed (go test -update, and look at the difference):\n%s", got)
	}
}
