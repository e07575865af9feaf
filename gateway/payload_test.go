package gateway

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/ackwire/ackwire/blobs"
)

// TestARefusedSubmitLeavesNoPayload in the blob store.
func TestARefusedSubmitLeavesNoPayload(t *testing.T) {
	url, err := blobs.Dir(t.TempDir() + "/blobs")
	if err != nil {
		t.Fatal(err)
	}
	inWorld(t, func(c *Config) { c.Blobs.URL, c.InlinePayload = url, 1<<10 }, func(t *testing.T, w *world) {
		w.failProduces(func() *kerr.Error { return kerr.MessageTooLarge })
		body := `{"job":"demo.echo","payload":"` + strings.Repeat("x", 4<<10) + `"}`
		if a := w.post(body, nil); a.status != 503 || a.code != "unavailable" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		store, err := blobs.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = store.Close() }()
		time.Sleep(time.Second)
		n, err := store.RemoveAll(t.Context(), "payloads/")
		if err != nil && !errors.Is(err, blobs.ErrNotFound) || n != 0 {
			t.Errorf("%d payloads are left, %v", n, err)
		}
	})
}
