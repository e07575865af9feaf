package gateway

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
)

// TestRequestIDs: the client's own if it is harmless, else one of ours; never what would
// break out of a header or a log line.
func TestRequestIDs(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, c := range []struct {
			sent string
			kept bool
		}{{"abc-1.2_3", true}, {"", false}, {strings.Repeat("x", 65), false}, {"a b", false}, {"<script>", false}} {
			got := w.http("GET", "/v1/jobs", http.Header{"X-Request-Id": {c.sent}}, nil).header.Get("X-Request-Id")
			if kept := got == c.sent; kept != c.kept || got == "" {
				t.Errorf("%q became %q", c.sent, got)
			}
		}
	})
}

// TestTraceparents: a good one travels with the request's record and comes back; a bad one is
// passed over, and the job is taken.
func TestTraceparents(t *testing.T) {
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	inWorld(t, nil, func(t *testing.T, w *world) {
		a := w.http("POST", "/v1/jobs", http.Header{"Content-Type": {"application/json"}, "Traceparent": {good}},
			strings.NewReader(`{"job":"demo.echo","payload":1}`))
		if a.status != http.StatusAccepted || a.header.Get("Traceparent") != good {
			t.Errorf("%d, %v", a.status, a.header)
		}
		w.dial("").send(`{"type":"submit","id":"1","job":"demo.echo","payload":1,"traceparent":"nonsense\r\n"}`)
		var carried []string
		w.eventually("both are written", func() bool { return len(w.produced(w.names.Requests("default"))) == 2 })
		for _, r := range w.produced(w.names.Requests("default")) {
			for _, h := range r.Headers {
				if h.Key == topic.HeaderTraceparent {
					carried = append(carried, string(h.Value))
				}
			}
		}
		if len(carried) != 1 || carried[0] != good {
			t.Errorf("records carry %q", carried)
		}
	})
}

// TestPagesOfOtherOrigins: those of the configuration may use the API with a token, and no
// other may.
func TestPagesOfOtherOrigins(t *testing.T) {
	inWorld(t, func(c *Config) { c.AllowedOrigins = []string{"*.example.com"} }, func(t *testing.T, w *world) {
		for origin, allowed := range map[string]bool{"https://app.example.com": true, "https://evil.example.org": false} {
			got := w.http("OPTIONS", "/v1/jobs", http.Header{"Origin": {origin}, "Access-Control-Request-Method": {"POST"},
				"Access-Control-Request-Headers": {"authorization,content-type,idempotency-key"}}, nil)
			if a := got.header.Get("Access-Control-Allow-Origin"); (a == origin) != allowed ||
				got.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("a preflight of %s: %d %v", origin, got.status, got.header)
			}
			got = w.http("OPTIONS", "/v1/jobs/"+jobA, http.Header{"Origin": {origin},
				"Access-Control-Request-Method": {"DELETE"}, "Access-Control-Request-Headers": {"authorization"}}, nil)
			if a := got.header.Get("Access-Control-Allow-Methods"); (a == "DELETE") != allowed {
				t.Errorf("a preflight of %s for an erasure: %d %v", origin, got.status, got.header)
			}
			got = w.http("GET", "/v1/stats", http.Header{"Origin": {origin}}, nil)
			if a := got.header.Get("Access-Control-Allow-Origin"); (a == origin) != allowed {
				t.Errorf("an answer for %s: %v", origin, got.header)
			}
		}
	})
}

func TestListsAreCompressed(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for i := range 50 {
			w.tracker.set("local", fmt.Sprintf("01a208fd-2dc6-7467-acd5-bb987da2%04d", i), 5, job.Pending)
		}
		plain := w.http("GET", "/v1/jobs", http.Header{"Accept-Encoding": {"identity"}}, nil)
		packed := w.http("GET", "/v1/jobs", http.Header{"Accept-Encoding": {"gzip"}}, nil)
		if packed.header.Get("Content-Encoding") != "gzip" ||
			!strings.Contains(packed.header.Get("Vary"), "Accept-Encoding") || len(packed.body)*3 > len(plain.body) {
			t.Fatalf("%d bytes became %d: %v", len(plain.body), len(packed.body), packed.header)
		}
		r, err := gzip.NewReader(strings.NewReader(packed.body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || string(b) != plain.body {
			t.Errorf("unpacked: %d bytes, %v", len(b), err)
		}
	})
}
