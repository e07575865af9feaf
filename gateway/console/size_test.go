package console

import (
	"net/http"
	"strings"
	"testing"
)

// Bounds of the files, compressed: of all but the chart, and of the chart with its library.
const (
	maxBytes      = 60_000
	maxChartBytes = 28_000
)

// TestSize: the whole page is small, with all that is loaded only when it is needed. The chart, which
// brings a library of its own, counts apart.
func TestSize(t *testing.T) {
	c := load()
	total, chart := len(c.atRoot.packed), 0
	for name, f := range c.files {
		if f.kind == "" {
			t.Errorf("%s has no type", name)
		}
		if strings.HasPrefix(name, "plot-") {
			chart += len(f.packed)
			continue
		}
		total += len(f.packed)
	}
	t.Logf("%d bytes, and %d of the chart", total, chart)
	if chart > maxChartBytes || chart < 1000 {
		t.Errorf("the chart: %d bytes, at most %d", chart, maxChartBytes)
	}
	if total > maxBytes || total < 1000 {
		t.Errorf("%d bytes, at most %d", total, maxBytes)
	}
}

// TestTakesGzip: weights of zero are a refusal (RFC 9110 §12.5.3).
func TestTakesGzip(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "GZIP": true, "br;q=1, gzip;q=0.8": true, "gzip;q=0": false, "*": true, "identity": false,
		"gzip;q=x": false,
	} {
		r := &http.Request{Header: http.Header{"Accept-Encoding": {header}}}
		if got := takesGzip(r); got != want {
			t.Errorf("%q: %v", header, got)
		}
	}
}
