package console

import (
	"net/http"
	"testing"
)

const maxBytes = 60_000 // of all files, compressed

// TestSize: the whole page is small, with all that is loaded only when it is needed.
func TestSize(t *testing.T) {
	c := load()
	total := len(c.atRoot.packed)
	for name, f := range c.files {
		if f.kind == "" {
			t.Errorf("%s has no type", name)
		}
		total += len(f.packed)
	}
	t.Logf("%d bytes", total)
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
