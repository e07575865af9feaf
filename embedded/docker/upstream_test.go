package docker

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	coltrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// thisMachine is the name that the compose file gives its collector for the machine that the
// engine runs on. Engines report their own networks differently: one that has just made the
// default bridge tells no gateway of it.
const thisMachine = "host.docker.internal"

// upstream is where the compose file's collector hands spans on to: it keeps which services
// made spans, by trace.
type upstream struct {
	url string

	mu       sync.Mutex
	services map[string]map[string]bool
}

// newUpstream listens at all of this machine's IPv4 addresses, whichever of them the engine
// leads its containers to.
func newUpstream(t *testing.T) *upstream {
	t.Helper()
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	u := &upstream{url: "http://" + net.JoinHostPort(thisMachine, port), services: map[string]map[string]bool{}}
	server := httptest.NewUnstartedServer(u)
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	return u
}

// ServeHTTP takes spans by OTLP over HTTP, compressed as the collector does by default.
func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := gzip.NewReader(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	b, err := io.ReadAll(body)
	var export coltrace.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(b, &export) != nil {
		http.Error(w, "not spans in OTLP", http.StatusBadRequest)
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, resource := range export.ResourceSpans {
		service := ""
		for _, a := range resource.Resource.GetAttributes() {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range resource.ScopeSpans {
			for _, span := range scope.Spans {
				id := hex.EncodeToString(span.TraceId)
				if u.services[id] == nil {
					u.services[id] = map[string]bool{}
				}
				u.services[id][service] = true
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (u *upstream) of(trace string) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return slices.Sorted(maps.Keys(u.services[trace]))
}

// TestUpstreamIsReached: a container in the collector's place reaches the upstream, on any
// engine. It needs none of our images: Kafka's has the program that asks.
func TestUpstreamIsReached(t *testing.T) {
	require(t)
	c, u := findCompose(t), newUpstream(t)
	var config struct {
		Services map[string]struct{ Image string }
	}
	if err := yaml.Unmarshal([]byte(c.told(t, "config")), &config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.down(context.WithoutCancel(t.Context()), t) })
	c.env = append(c.env, "OTEL_IMAGE="+config.Services["kafka-1"].Image)
	host, port, err := net.SplitHostPort(strings.TrimPrefix(u.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	c.timeout = 30 * time.Second
	got := c.told(t, "run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "otel", "-c",
		`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 "$0" "$1"`, host, port)
	if !strings.HasPrefix(got, "HTTP/1.0 415") {
		t.Errorf("the upstream answered %q", got)
	}
}
