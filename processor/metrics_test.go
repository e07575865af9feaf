package processor

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestMetrics compares the metrics with a golden file, since dashboards depend on them.
func TestMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	newMetrics(r, []string{"default"})
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for _, f := range families {
		got.WriteString(f.GetName() + " " + strings.ToLower(f.GetType().String()))
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				got.WriteString(" " + l.GetName() + "=" + l.GetValue())
			}
		}
		got.WriteByte('\n')
	}
	const golden = "testdata/metrics.txt"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}
