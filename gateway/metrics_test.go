package gateway

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ackwire/ackwire/gateway/conns"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/session"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

var update = flag.Bool("update", false, "write the golden files anew")

func testMetrics() (*metrics, *prometheus.Registry) {
	registry := prometheus.NewPedanticRegistry()
	conns.New(conns.Config{Metrics: registry})
	return newMetrics(registry, func() (jobs, subscriptions int) {
		return 2, 3
	}, func() int { return 1 }), registry
}

// series are all of a registry's time series, "name label=value …", with their values; a
// histogram's is its count.
func series(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

// TestMetrics lints what /metrics shows and compares names, types, help and label values
// with testdata (-update writes that anew).
func TestMetrics(t *testing.T) {
	m, registry := testMetrics()
	m.http.Request("list", 200, 0, false) // statuses have no values at the start
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
		lines = append(lines, f.GetName()+": "+strings.ToLower(f.GetType().String())+": "+f.GetHelp())
	}
	for name := range series(t, registry) {
		if strings.Contains(name, "=") {
			lines = append(lines, name)
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

// Counters are there from the start, at 0, so that rates work; gauges ask.
func TestMetricsBeginAtZero(t *testing.T) {
	_, registry := testMetrics()
	gauges := map[string]float64{
		"ackwire_gateway_watched_jobs": 2, "ackwire_gateway_subscriptions": 3, "ackwire_gateway_tracker_streams": 1,
	}
	all := series(t, registry)
	for name, value := range all {
		if value != gauges[name] {
			t.Errorf("%s is %v", name, value)
		}
	}
	for _, fixed := range []string{"acked", "rejected", "indeterminate"} { // others build on these
		if _, ok := all["ackwire_gateway_submits_total outcome="+fixed]; !ok {
			t.Errorf("no outcome %s", fixed)
		}
	}
}

// Every event is counted where it belongs, and what a client makes up adds no series.
func TestWhatIsCounted(t *testing.T) {
	const p = "ackwire_gateway_"
	for _, c := range []struct {
		what  string
		event func(*metrics)
		want  []string
	}{
		{
			"a frame", func(m *metrics) { m.Frame(frame.Ping, "", 0) },
			[]string{p + "frame_seconds type=ping", p + "frames_received_total code= type=ping"},
		},
		{
			"a refused frame", func(m *metrics) { m.Frame(frame.Submit, code.Overloaded, 0) },
			[]string{p + "frame_seconds type=submit", p + "frames_received_total code=overloaded type=submit"},
		},
		{
			"an unknown frame", func(m *metrics) { m.Frame("made up", code.UnknownFrame, 0) },
			[]string{p + "frame_seconds type=other", p + "frames_received_total code=unknown_frame type=other"},
		},
		{
			"a server's frame", func(m *metrics) { m.Frame(frame.Ack, code.UnknownFrame, 0) },
			[]string{p + "frame_seconds type=other", p + "frames_received_total code=unknown_frame type=other"},
		},
		{
			"a frame that could not be read", func(m *metrics) { m.Frame("", code.InvalidFrame, 0) },
			[]string{p + "frame_seconds type=other", p + "frames_received_total code=invalid_frame type=other"},
		},
		{"an error", func(m *metrics) { m.Error(code.NotFound) }, []string{p + "errors_total code=not_found"}},
		{
			"a close of ours", func(m *metrics) { m.closed(code.CloseSlowConsumer) },
			[]string{p + "session_closes_total code=4000"},
		},
		{"a client that left", func(m *metrics) { m.closed(0) }, []string{p + "session_closes_total code=none"}},
		{"a close of a client's making", func(m *metrics) { m.closed(4321) }, []string{p + "session_closes_total code=none"}},
		{
			"a request", func(m *metrics) { m.http.Request("list", 200, 0, false) },
			[]string{p + "http_request_seconds route=list", p + "http_requests_total route=list status=200"},
		},
		{
			"a request that waited", func(m *metrics) { m.http.Request("get", 200, 0, true) },
			[]string{p + "http_requests_total route=get status=200"},
		},
		{"a status", func(m *metrics) { m.Sent([]int64{1}) }, []string{p + "delivery_seconds", p + "statuses_sent_total"}},
		{"a status that is no news", func(m *metrics) { m.Sent([]int64{0}) }, []string{p + "statuses_sent_total"}},
		{
			"a status that was not sent", func(m *metrics) { m.Dropped(outbox.Old) },
			[]string{p + "frames_dropped_total reason=old"},
		},
		{
			"a frame that came too late", func(m *metrics) { m.Dropped(outbox.Closed) },
			[]string{p + "frames_dropped_total reason=closed"},
		},
		{
			"a frame that had no room", func(m *metrics) { m.Dropped(outbox.Overflow) },
			[]string{p + "frames_dropped_total reason=overflow"},
		},
		{"a socket with compression", func(m *metrics) { m.Compressing(1) }, []string{p + "compression_sockets"}},
		{
			"one that may not have it", func(m *metrics) { m.NotCompressing(session.TooManySockets) },
			[]string{p + "compression_refused_total reason=sockets"},
		},
		{"a frame that was compressed", func(m *metrics) { m.Compressed() }, []string{p + "frames_compressed_total"}},
		{
			"one that was sent", func(m *metrics) { m.SentCompressed(1, 1) },
			[]string{p + "compression_after_bytes_total", p + "compression_before_bytes_total"},
		},
		{"a conflated one", func(m *metrics) { m.Conflated() }, []string{p + "statuses_conflated_total"}},
		{"one without room", func(m *metrics) { m.Parked() }, []string{p + "statuses_parked_total"}},
	} {
		m, registry := testMetrics()
		before := series(t, registry)
		c.event(m)
		after := series(t, registry)
		maps.DeleteFunc(after, func(name string, value float64) bool { return value == before[name] })
		got := slices.Sorted(maps.Keys(after))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: want %q, got %q", c.what, c.want, got)
		}
		for name, value := range after {
			if value-before[name] != 1 {
				t.Errorf("%s: %s rose by %v", c.what, name, value-before[name])
			}
		}
	}
}

// All counted types and codes are those of the contract.
func TestLabelsAreTheContracts(t *testing.T) {
	if !slices.Equal(clientFrames, frame.ClientTypes) {
		t.Errorf("counted frames %q, the protocol's are %q", clientFrames, frame.ClientTypes)
	}
	_, registry := testMetrics()
	all := series(t, registry)
	for _, c := range code.All {
		if _, ok := all["ackwire_gateway_errors_total code="+string(c)]; !ok {
			t.Errorf("code %s is not counted", c)
		}
	}
}
