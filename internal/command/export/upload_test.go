package export

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// roundTrip is a collector without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answer(status int, header http.Header, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader(body)),
	}
}

var spans = []*tracepb.ResourceSpans{{ScopeSpans: []*tracepb.ScopeSpans{{Spans: []*tracepb.Span{{Name: "submit"}}}}}}

// TestBatchesAreSentAgain only where the answer says that it helps, and not before the time that it names.
func TestBatchesAreSentAgain(t *testing.T) {
	protobuf := http.Header{"Content-Type": {"application/x-protobuf"}}
	refusal, err := proto.Marshal(&collector.ExportTraceServiceResponse{
		PartialSuccess: &collector.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "too old"},
	})
	if err != nil {
		t.Fatal(err)
	}
	nothing := &collector.ExportTracePartialSuccess{}
	full, err := proto.Marshal(&collector.ExportTraceServiceResponse{PartialSuccess: nothing})
	if err != nil {
		t.Fatal(err)
	}
	busy := answer(http.StatusServiceUnavailable, http.Header{"Retry-After": {"7"}}, "busy")
	busier := answer(http.StatusServiceUnavailable, http.Header{"Retry-After": {"12"}}, "busy")
	ok := answer(http.StatusOK, protobuf, string(full))
	for _, c := range []struct {
		name    string
		answers []*http.Response
		tries   int
		least   time.Duration
		want    string // in the error; empty: none
	}{
		{"all is well", []*http.Response{ok}, 1, 0, ""},
		{"a collector that needs time", []*http.Response{busy, busy, ok}, 3, 14 * time.Second, ""},
		{
			"too much at once", []*http.Response{answer(http.StatusTooManyRequests, nil, ""), ok}, 2,
			firstWait / 2, "",
		},
		{"a collector that stays busy", []*http.Response{busier}, 3, 30 * time.Second, `"busy"`},
		{"what no second try mends", []*http.Response{answer(http.StatusBadRequest, nil, "no")}, 1, 0, `"no"`},
		{
			"some spans are refused", []*http.Response{answer(http.StatusOK, protobuf, string(refusal))}, 1, 0,
			`3 spans: "too old"`,
		},
		{"an answer that is not protobuf", []*http.Response{answer(http.StatusOK, nil, "fine")}, 1, 0, ""},
		{"an answer that is broken", []*http.Response{answer(http.StatusOK, protobuf, "\x0a\xff")}, 1, 0, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			tries := 0
			u := newUploader("http://collector/v1/traces", settings{header: http.Header{}})
			u.client.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
				r := *c.answers[min(tries, len(c.answers)-1)]
				tries++
				text, err := io.ReadAll(r.Body)
				r.Body = io.NopCloser(strings.NewReader(string(text)))
				c.answers[min(tries-1, len(c.answers)-1)].Body = io.NopCloser(strings.NewReader(string(text)))
				return &r, err
			})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			began := time.Now()
			err := u.UploadTraces(ctx, spans)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(began); tries != c.tries || took < c.least {
				t.Errorf("%s: %d tries in %v, want %d in at least %v", c.name, tries, took, c.tries, c.least)
			}
		})
	}
}

// TestStopGivesUp what is being sent.
func TestStopGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newUploader("http://collector/v1/traces", settings{header: http.Header{}})
		u.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		sent := make(chan error)
		go func() { sent <- u.UploadTraces(context.Background(), spans) }()
		synctest.Wait()
		if err := u.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-sent; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestSettingsOfOpenTelemetry reach the collector: headers, compression, and the certificate that it is trusted by.
func TestSettingsOfOpenTelemetry(t *testing.T) {
	got := make(chan *http.Request, 1)
	names := make(chan string, 1)
	srv := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		body, err := io.ReadAll(z)
		req := &collector.ExportTraceServiceRequest{}
		if err := errors.Join(err, proto.Unmarshal(body, req)); err != nil {
			t.Error(err)
			return
		}
		names <- req.ResourceSpans[0].ScopeSpans[0].Spans[0].Name
		got <- r
	}))
	defer srv.Close()
	file := filepath.Join(t.TempDir(), "roots.pem")
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(file, roots, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-of = y")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", file)
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20000")
	s, err := fromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	if s.timeout != 20*time.Second {
		t.Errorf("a request may take %v", s.timeout)
	}
	u := newUploader(srv.URL+"/v1/traces", s)
	defer func() { _ = u.Stop(t.Context()) }()
	if err := u.UploadTraces(t.Context(), spans); err != nil {
		t.Fatal(err)
	}
	if name := <-names; name != "submit" {
		t.Errorf("the span %s came", name)
	}
	if h := (<-got).Header; h.Get("api-key") != "a b" || h.Get("x-of") != "y" {
		t.Errorf("headers: %v", h)
	}
}

// TestBadSettings are named all at once, and their values are not shown: headers are secrets.
func TestBadSettings(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "secret")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", filepath.Join(t.TempDir(), "none"))
	t.Setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", filepath.Join(t.TempDir(), "none"))
	_, err := fromEnvironment()
	if err == nil {
		t.Fatal("taken")
	}
	for _, name := range []string{"TRACES_HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE", "CLIENT_CERTIFICATE"} {
		if !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_"+name+":") {
			t.Errorf("%s is not in %v", name, err)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}
