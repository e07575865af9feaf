package processor

import (
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestWorkerIDsTellNoHost: worker IDs are in documents and webhooks, so they do not contain the host name. Operators
// find it in a metric.
func TestWorkerIDsTellNoHost(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 100 {
		metrics := prometheus.NewRegistry()
		p, err := New(Config{}, quiet(), WithMetrics(metrics))
		if err != nil {
			t.Fatal(err)
		}
		id := p.WorkerID()
		if !strings.HasPrefix(id, "worker-") || seen[id] || len(id) > maxWorkerID {
			t.Fatalf("worker %s on host %s", id, host)
		}
		seen[id] = true
		families, err := metrics.Gather()
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range families {
			if f.GetName() == "ackwire_processor_info" {
				l := f.Metric[0].Label
				found = l[0].GetValue() == host && l[1].GetValue() == id
			}
		}
		if !found {
			t.Fatal("operators cannot tell the worker's host")
		}
	}
	p, err := New(Config{WorkerHost: true}, quiet())
	if err != nil || !strings.HasPrefix(p.WorkerID(), host+"-") {
		t.Errorf("%v: worker %s of host %s", err, p.WorkerID(), host)
	}
	for in, want := range map[string]string{"a b\x00\u00e4": "a-b--", strings.Repeat("h", 200): strings.Repeat("h",
		maxWorkerID-9) + "-"} {
		if id := randomWorkerID(in, true); !strings.HasPrefix(id, want) || len(id) > maxWorkerID {
			t.Errorf("%q became %q", in, id)
		}
	}
}
