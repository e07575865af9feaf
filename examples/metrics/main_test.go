package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHandlersAreMeasured(t *testing.T) {
	for jobType, want := range map[string]struct {
		event event.Type
		ok    string
	}{
		"demo.echo":   {event.Completed, "true"},
		"shop.broken": {event.Failed, "false"},
		"shop.panic":  {event.Failed, "false"},
	} {
		reg := prometheus.NewRegistry()
		got, err := processortest.Run(t.Context(), func(w *processor.Processor) {
			register(w, reg)
			processor.Handle(w, "shop.broken", func(context.Context, *processor.Job, any) (any, error) {
				return nil, errors.New("it is broken")
			})
			processor.Handle(w, "shop.panic", func(context.Context, *processor.Job, any) (any, error) { panic("a bug") })
		}, processortest.Job{Type: jobType, Payload: "tea"})
		if err != nil || got.Event != want.event {
			t.Errorf("%s: got %+v, %v", jobType, got, err)
		}
		shown := metrics(t, reg)
		if line := `shop_handler_seconds_count{ok="` + want.ok + `",type="` + jobType + `"} 1`; !strings.Contains(shown,
			line) {
			t.Errorf("%s: there is no %s in\n%s", jobType, line, shown)
		}
	}
}

func metrics(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(),
		http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

// While the program looks for Kafka it serves metrics and reports that it is not ready.
func TestRun(t *testing.T) {
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	logged := make(lines, 1)
	ended := make(chan error, 1)
	go func() {
		// Nothing listens at this address.
		cfg := processor.Config{Brokers: []string{"127.0.0.1:1"}}
		ended <- run(ctx, l, cfg, slog.New(slog.NewJSONHandler(logged, nil)))
	}()
	if status, body := get(t, l, "/metrics"); status != http.StatusOK ||
		!strings.Contains(body, "\nackwire_processor_info{") {
		t.Errorf("/metrics: %d %s", status, body)
	}
	if status, body := get(t, l, "/readyz"); status != http.StatusServiceUnavailable ||
		!strings.HasPrefix(body, "starting") && body != "not started\n" {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if line := <-logged; !strings.Contains(line, `"service":"processor"`) {
		t.Errorf("it logged %s", line)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// lines collects log lines; it drops them when it is full.
type lines chan string

// Write implements io.Writer.
func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

func get(t *testing.T, l net.Listener, path string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
