package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/embedded"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start starts the service on a folder, and returns its address and a function that stops it.
func start(t *testing.T, dir string) (url string, stop func()) {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := embedded.Config{Data: dir, Listen: "127.0.0.1:0", JobTypes: "jobtypes.yaml", Partitions: 1}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, l, cfg, slog.New(slog.DiscardHandler)) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return "http://" + l.Addr().String(), stop
}

func call(t *testing.T, method, url, body string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
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
	return resp.StatusCode, strings.TrimSpace(string(b))
}

// An order that was answered is shipped, if not before the service stops then after its next start.
func TestAnOrderSurvivesARestart(t *testing.T) {
	dir := t.TempDir()
	url, stop := start(t, dir)
	status, shipped := call(t, "POST", url+"/orders", `{"item":"tea"}`)
	if status != http.StatusAccepted {
		t.Fatalf("an order: %d %s", status, shipped)
	}
	if status, answer := call(t, "GET", url+"/orders/"+shipped, ""); status != http.StatusOK || answer != "tea" {
		t.Errorf("its receipt: %d %s", status, answer)
	}
	if status, answer := call(t, "POST", url+"/orders", `{}`); status != http.StatusBadRequest {
		t.Errorf("an order of nothing: %d %s", status, answer)
	}
	_, last := call(t, "POST", url+"/orders", `{"item":"coffee"}`)
	stop()

	url, _ = start(t, dir)
	for id, item := range map[string]string{shipped: "tea", last: "coffee"} {
		if status, answer := call(t, "GET", url+"/orders/"+id, ""); status != http.StatusOK || answer != item {
			t.Errorf("the receipt for %s after a restart: %d %s", item, status, answer)
		}
	}
	if status, answer := call(t, "GET", url+"/orders/01a208fd-2dc6-7467-acd5-bb987da2c71e",
		""); status != http.StatusNotFound {
		t.Errorf("an order that there is not: %d %s", status, answer)
	}
}
