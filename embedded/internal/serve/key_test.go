package serve

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/webhook"
)

func TestKeyIsMadeOnceForItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	key, err := Key(dir)
	if err != nil || len(key) != keyBytes {
		t.Fatalf("%d bytes, %v", len(key), err)
	}
	info, err := os.Stat(filepath.Join(dir, "token.key"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
	again, err := Key(dir)
	if err != nil || !bytes.Equal(again, key) {
		t.Errorf("the second call gives another key: %v", err)
	}
	if other, err := Key(t.TempDir()); err != nil || bytes.Equal(other, key) {
		t.Errorf("two folders share a key: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind in the folder: %v, %v", entries, err)
	}
}

// `ackwire token` and a first `ackwire serve` may run side by side.
func TestManyMakeOneKey(t *testing.T) {
	dir := t.TempDir()
	keys := make([][]byte, 20)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = Key(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, k := range keys {
		if !bytes.Equal(k, keys[0]) {
			t.Fatal("two callers hold different keys")
		}
	}
}

func TestAKeyThatIsNoneIsRefused(t *testing.T) {
	for name, bad := range map[string][]byte{"empty": nil, "short": make([]byte, 31), "long": make([]byte, 33)} {
		dir := t.TempDir()
		file := filepath.Join(dir, "token.key")
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Key(dir)
		if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "not 32") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, bad) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "token.key"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Key(dir); err == nil || !strings.HasPrefix(err.Error(), "token.key: ") {
		t.Errorf("a folder: %v", err)
	}
}

// Only the server makes a folder's key: who asks for a token in another folder is told.
func TestAKeyIsNotMadeByThoseWhoUseIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "wrong")
	if _, err := ExistingKey(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "token.key")) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder was made: %v", err)
	}
	key, err := Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ExistingKey(dir); err != nil || !bytes.Equal(again, key) {
		t.Errorf("another key, %v", err)
	}
}

// A key that was put there as a line of text is that text.
func TestAFoldersKeyMayBeALine(t *testing.T) {
	dir, text := t.TempDir(), strings.Repeat("k", keyBytes)
	if err := os.WriteFile(filepath.Join(dir, "token.key"), []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := Key(dir); err != nil || string(key) != text {
		t.Errorf("%q, %v", key, err)
	}
}

func TestKeysOfADeploymentStay(t *testing.T) {
	dir := t.TempDir()
	token, err := Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Keys(dir)
	if err != nil || len(files) != 5 {
		t.Fatalf("%q, %v", files, err)
	}
	var before [][]byte
	for _, f := range files {
		b, err := os.ReadFile(f.Name)
		if err != nil {
			t.Fatal(err)
		}
		before = append(before, b)
	}
	if !bytes.Equal(before[0], token) {
		t.Error("the token key was changed")
	}
	if keys, err := keyfile.Parse(before[1], 2); err != nil || len(keys) != 1 || len(keys[0]) < grant.MinKeyBytes {
		t.Errorf("%d keys for grants, %v", len(keys), err)
	}
	if keys, err := keyfile.Parse(before[2], webhook.MaxKeys); err != nil || len(keys) != 1 ||
		webhook.CheckKeys(keys) != nil {
		t.Errorf("%d webhook keys, %v", len(keys), err)
	}
	if _, err := Keys(dir); err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		if b, err := os.ReadFile(f.Name); err != nil || !bytes.Equal(b, before[i]) {
			t.Errorf("%s was made again, %v", f.Name, err)
		}
	}
}

// TestTheSecretOfIDs checks that a deployment with jobs also finds those whose IDs have no secret, and a new one has
// nothing to look for.
func TestTheSecretOfIDs(t *testing.T) {
	lines := func(dir string) []string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, idKey))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(b))
	}
	fresh, existing := t.TempDir(), t.TempDir()
	if _, err := Key(existing); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{fresh, existing} {
		if _, err := Keys(dir); err != nil {
			t.Fatal(err)
		}
	}
	if got := lines(fresh); len(got) != 1 || len(got[0]) != 2*keyBytes {
		t.Errorf("in a new folder: %d lines", len(got))
	}
	if got := lines(existing); len(got) != 2 || got[1] != "none" {
		t.Errorf("in a folder with keys: %d lines", len(got))
	}
	dir := t.TempDir()
	for _, before := range []bool{true, false} { // the second call changes nothing
		if file, err := IDKey(dir, before); err != nil || file != filepath.Join(dir, idKey) {
			t.Errorf("%s, %v", file, err)
		}
		if got := lines(dir); len(got) != 2 || got[1] != "none" {
			t.Errorf("in a used folder: %d lines", len(got))
		}
	}
}

// TestOneSecretOfIDsForAllGateways checks that a server beside a Kafka of other processes makes no secret of its own:
// other gateways would not have it.
func TestOneSecretOfIDsForAllGateways(t *testing.T) {
	s := &System{cfg: config(t.TempDir())}
	s.cfg.Gateway.Kafka.Brokers = []string{"kafka:9092"}
	if err := s.share(); err != nil || s.cfg.Gateway.IDKeyFile != "" {
		t.Errorf("beside a Kafka of others: %q, %v", s.cfg.Gateway.IDKeyFile, err)
	}
}
