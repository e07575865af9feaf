package intake

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/ackwire/ackwire/internal/certs"
)

var (
	idSecret    = strings.Repeat("i", minIDKeyBytes)
	newIDSecret = strings.Repeat("n", minIDKeyBytes)
)

// TestIDsOfKeysHaveASecret checks that who does not know the secret cannot compute a job's ID from its key, and that
// only jobs of secrets in the file are looked for.
func TestIDsOfKeysHaveASecret(t *testing.T) {
	ids := func(lines ...string) (string, []string) {
		var k IDKeys
		if len(lines) > 0 {
			file := filepath.Join(t.TempDir(), "id.key")
			if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			var err error
			if k, err = OpenIDKeys(certs.Env{Log: slog.New(slog.DiscardHandler)}, file); err != nil {
				t.Fatal(err)
			}
		}
		return k.of("acme", "ann", "demo.echo", "k")
	}
	plain, plainFormer := ids()
	secret, secretFormer := ids(idSecret)
	if other, _ := ids(newIDSecret); other == secret || secret == plain {
		t.Errorf("%s, %s and %s", plain, secret, other)
	}
	if u, err := uuid.Parse(secret); err != nil || u.Version() != 8 || u.Variant() != uuid.RFC4122 {
		t.Errorf("%s: %v", secret, err)
	}
	if len(plainFormer) != 1 || len(secretFormer) != 0 {
		t.Errorf("without a secret %s, with one %s", plainFormer, secretFormer)
	}
	for _, c := range []struct {
		lines  []string
		id     string
		former []string
	}{
		{[]string{noIDKey}, plain, plainFormer},
		{[]string{noIDKey, idSecret}, plain, []string{plainFormer[0], secret}},
		{[]string{idSecret, noIDKey}, secret, []string{plain, plainFormer[0]}},
		{[]string{idSecret, idSecret}, secret, nil},
	} {
		if id, former := ids(c.lines...); id != c.id || !slices.Equal(former, c.former) {
			t.Errorf("%q: %s, %s; want %s, %s", c.lines, id, former, c.id, c.former)
		}
	}
	for content, want := range map[string]string{
		"": "no key", "\n": "no key", "short\n": "5 bytes", "none\nshort\n": "key 2", "None\n": "4 bytes",
		idSecret + "\n" + newIDSecret + "\nnone\n": "3 keys",
	} {
		if _, err := parseIDKeys([]byte(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
}
