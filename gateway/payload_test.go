package gateway

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ackwire/ackwire/blobs"
)

// payloads removes what is in the blob store, and returns how many there were.
func payloads(t *testing.T, url string) int {
	t.Helper()
	store, err := blobs.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	n, err := store.RemoveAll(t.Context(), "payloads/")
	if err != nil && !errors.Is(err, blobs.ErrNotFound) {
		t.Fatal(err)
	}
	return n
}

var largePayload = `{"job":"demo.echo","payload":"` + strings.Repeat("x", 4<<10) + `"}`

// TestARefusedSubmitLeavesNoPayload in the blob store, with an idempotency key or without.
func TestARefusedSubmitLeavesNoPayload(t *testing.T) {
	for _, header := range []http.Header{nil, {"Idempotency-Key": {"k"}}} {
		url, err := blobs.Dir(t.TempDir() + "/blobs")
		if err != nil {
			t.Fatal(err)
		}
		inWorld(t, func(c *Config) { c.Blobs.URL, c.InlinePayload = url, 1<<10 }, func(t *testing.T, w *world) {
			w.failProduces(func() *kerr.Error { return kerr.MessageTooLarge })
			if a := w.post(largePayload, header); a.status != 503 || a.code != "unavailable" {
				t.Fatalf("%d %s", a.status, a.body)
			}
			if n := payloads(t, url); n != 0 {
				t.Errorf("%v: %d payloads are left", header, n)
			}
		})
	}
}

// TestOnePayloadOfManyWithOneKey: submits with one key at once all write a request, and one is the job's.
// The others' payloads are removed.
func TestOnePayloadOfManyWithOneKey(t *testing.T) {
	const submits = 5
	url, err := blobs.Dir(t.TempDir() + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(c *Config) { c.Blobs.URL, c.InlinePayload = url, 1<<10 }, func(t *testing.T, w *world) {
		var all sync.WaitGroup
		for range submits {
			all.Go(func() {
				if a := w.post(largePayload, http.Header{"Idempotency-Key": {"k"}}); a.status != 202 && a.status != 200 {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		all.Wait()
		if n := payloads(t, url); n != 1 {
			t.Errorf("%d payloads are left", n)
		}
		if n := len(w.produced(w.names.Requests("default"))); n != submits {
			t.Errorf("%d requests: nothing was proven", n)
		}
	})
}
