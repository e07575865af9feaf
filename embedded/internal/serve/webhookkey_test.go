package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/schemas/webhook"
)

// TestWebhooksHaveAKeyOfTheirOwn checks that in a new folder the key that signs tokens signs no webhooks.
func TestWebhooksHaveAKeyOfTheirOwn(t *testing.T) {
	dir := t.TempDir()
	token, err := Key(dir) // a program may make it before the first start
	if err != nil {
		t.Fatal(err)
	}
	keys, err := WebhookKeys(dir, false)
	if err != nil || len(keys) != 1 || bytes.Equal(keys[0], token) || len(keys[0]) < webhook.MinKeyBytes {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	// The file is one for --webhook-key-file, and the next start, with its data, finds the same key.
	if file, err := keyfile.Read(filepath.Join(dir, webhookKey), 1); err != nil || !bytes.Equal(file[0], keys[0]) {
		t.Errorf("in the file: %v", err)
	}
	again, err := WebhookKeys(dir, true)
	if err != nil || len(again) != 1 || !bytes.Equal(again[0], keys[0]) {
		t.Errorf("at the next start: %d keys, %v", len(again), err)
	}
}

// TestEndpointsOfBeforeGoOn checks that in a folder of an earlier version webhooks are signed with both keys, until the
// operator ends it.
func TestEndpointsOfBeforeGoOn(t *testing.T) {
	dir := t.TempDir()
	token, err := Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := ExistingWebhookKeys(dir); err != nil || len(keys) != 1 || !bytes.Equal(keys[0], token) {
		t.Errorf("before the first start of this version: %d keys, %v", len(keys), err)
	}
	if _, err := Keys(dir); err != nil { // ackwire keys, for the secret between processes
		t.Fatal(err)
	}
	for range 2 {
		keys, err := WebhookKeys(dir, true)
		if err != nil || len(keys) != 2 || bytes.Equal(keys[0], token) || !bytes.Equal(keys[1], token) {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		if existing, err := ExistingWebhookKeys(dir); err != nil || len(existing) != 2 || !bytes.Equal(existing[0], keys[0]) {
			t.Errorf("for the command: %d keys, %v", len(existing), err)
		}
	}
	former := filepath.Join(dir, formerKey)
	if err := os.WriteFile(former, []byte("none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if keys, err := WebhookKeys(dir, true); err != nil || len(keys) != 1 || bytes.Equal(keys[0], token) {
		t.Errorf("after the change: %d keys, %v", len(keys), err)
	}
	if err := os.WriteFile(former, []byte("maybe\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WebhookKeys(dir, true); err == nil || !strings.Contains(err.Error(), former) {
		t.Errorf("a word that is none of them: %v", err)
	}
}

// TestAFolderIsUsed checks how a folder of an earlier version is known.
func TestAFolderIsUsed(t *testing.T) {
	cfg := config(t.TempDir())
	dir := cfg.Broker.Data
	if was, err := used(dir); was || err != nil {
		t.Errorf("a new folder: %v, %v", was, err)
	}
	if err := os.Mkdir(trackerConfig(cfg, true).Data, 0o700); err != nil {
		t.Fatal(err)
	}
	if was, err := used(dir); !was || err != nil {
		t.Errorf("with a tracker's data: %v, %v", was, err)
	}
}
