package flags

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	contract "github.com/ackwire/ackwire/schemas/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSecretFiles: an error names the file and the tenant, and shows no secret.
func TestSecretFiles(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := contract.Secret(key, "x")
	for _, tc := range []struct {
		what string
		set  Webhooks
		bad  string
	}{
		{"two keys", Webhooks{KeyFile: file(string(key) + "\n\n" + strings.Repeat("b", 40) + "\n")}, ""},
		{"three keys", Webhooks{KeyFile: file(strings.Repeat(string(key)+"\n", 3))}, "3 keys"},
		{"a short key", Webhooks{KeyFile: file("short")}, "5 bytes"},
		{"an empty file", Webhooks{KeyFile: file("")}, "no key"},
		{"no such file", Webhooks{KeyFile: "/nowhere"}, "nowhere"},
		{"own secrets", Webhooks{SecretsFile: file("alice: [" + own + ", " + own + "]\n")}, ""},
		{"three secrets", Webhooks{SecretsFile: file("alice: [" + own + ", " + own + ", " + own + "]\n")}, "3 secrets"},
		{"not base64", Webhooks{SecretsFile: file("alice: ['whsec_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!']\n")}, `tenant "alice"`},
		{"not a map", Webhooks{SecretsFile: file("- a\n")}, "not tenants"},
	} {
		_, err := tc.set.Config()
		if (err == nil) != (tc.bad == "") || err != nil && !strings.Contains(err.Error(), tc.bad) {
			t.Errorf("%s: %v", tc.what, err)
		}
		if err != nil && strings.Contains(err.Error(), "whsec_!") {
			t.Errorf("%s: the secret is in the error", tc.what)
		}
	}
}
