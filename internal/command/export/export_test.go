package export

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
)

func TestConfig(t *testing.T) {
	for _, c := range []struct {
		cfg Config
		bad string
	}{
		{Config{}, ""},
		{Config{TraceEndpoint: "http://127.0.0.1:4318", TraceRatio: 1}, ""},
		{Config{TraceEndpoint: "127.0.0.1:4318"}, "trace-endpoint"},
		{Config{TraceRatio: 1.1}, "trace-ratio"},
		{
			Config{TraceEndpoint: "ftp://x", TraceRatio: -1},
			"trace-endpoint must be an http(s) URL, not \"ftp://x\"\ntrace-ratio",
		},
	} {
		err := c.cfg.Validate()
		if c.bad == "" && err != nil || c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
}

// TestSpansAreSent: what was made is at the collector when flush has returned. Of the traces
// that began elsewhere those are sampled whose beginner did, whatever the ratio.
func TestSpansAreSent(t *testing.T) {
	type batch struct {
		path string
		req  *collector.ExportTraceServiceRequest
	}
	got := make(chan batch, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		req := &collector.ExportTraceServiceRequest{}
		if err == nil {
			err = proto.Unmarshal(body, req)
		}
		if err != nil {
			t.Error(err)
		}
		got <- batch{r.URL.Path, req}
	}))
	defer srv.Close()
	env := service.Env{Log: slog.New(slog.DiscardHandler)}
	flush, err := Config{TraceEndpoint: srv.URL}.Start("gateway", &env)
	if err != nil {
		t.Fatal(err)
	}
	tracer := tracing.Tracer(env.Traces, "gateway")
	for _, parent := range []string{"", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"} {
		_, span := tracer.Start(tracing.With(t.Context(), tracing.Parse(parent, "")),
			"submit", trace.WithSpanKind(trace.SpanKindServer))
		span.End()
	}
	flush()
	b := <-got
	if b.path != "/v1/traces" || len(b.req.ResourceSpans) != 1 {
		t.Fatalf("%s: %v", b.path, b.req)
	}
	name := ""
	for _, a := range b.req.ResourceSpans[0].Resource.Attributes {
		if a.Key == "service.name" {
			name = a.Value.GetStringValue()
		}
	}
	scopes := b.req.ResourceSpans[0].ScopeSpans
	if name != "gateway" || len(scopes) != 1 || len(scopes[0].Spans) != 1 || scopes[0].Spans[0].Name != "submit" {
		t.Errorf("service %q sent %v", name, scopes)
	}
}

// TestNoEndpoint: nothing is made.
func TestNoEndpoint(t *testing.T) {
	var env service.Env
	flush, err := Config{}.Start("gateway", &env)
	if err != nil || env.Traces != nil {
		t.Fatal(env.Traces, err)
	}
	flush()
}
