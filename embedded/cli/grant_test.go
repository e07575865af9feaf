package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/frame"
)

const grantedJob = "0198c5c4-0000-7000-8000-00000000000a"

// TestGrant makes grants by a server.
func TestGrant(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")+" "+string(body))
		if strings.Contains(string(body), "operate") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `{"code":"forbidden","title":"Forbidden","detail":"the token does not permit operate\u001b[2J"}`)
			return
		}
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"token":"a.b.c","expiresAt":"2026-01-02T03:04:05Z"}`)
	}))
	t.Cleanup(srv.Close)
	got := run(t, &Env{}, srv.URL, "grant", grantedJob, "--type=a.b", "--permit=read,cancel", "--ttl=1h", "--token=t")
	if want := "exit code 0\n--- stdout\na.b.c\n--- stderr\n"; got != want {
		t.Errorf("%q", got)
	}
	want := `POST /v1/grants Bearer t {"ttl":3600,"permissions":["read","cancel"],"jobs":["` + grantedJob +
		`"],"types":["a.b"]}`
	if asked[0] != want {
		t.Errorf("asked for %s", asked[0])
	}
	got = run(t, &Env{}, srv.URL, "grant", grantedJob, "--json")
	want = "exit code 0\n--- stdout\n" + `{"token":"a.b.c","expiresAt":"2026-01-02T03:04:05Z"}` + "\n--- stderr\n"
	if got != want {
		t.Errorf("%q", got)
	}
	got = run(t, &Env{}, srv.URL, "grant", grantedJob, "--permit=operate")
	if !strings.HasPrefix(got, "exit code 2\n--- stdout\n--- stderr\nackwire: ") || !strings.Contains(got, "forbidden") {
		t.Errorf("%q", got)
	}
}

// TestGrantByKey makes grants without a server; gateways' tests show that they take such grants.
func TestGrantByKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "grant.key")
	key := strings.Repeat("k", 32)
	if err := os.WriteFile(file, []byte(key+"\n"+strings.Repeat("o", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	byKey := func(args ...string) string {
		args = append([]string{"grant", grantedJob, "--json", "--grant-key-file"}, args...)
		return run(t, &Env{}, "http://127.0.0.1:1", args...)
	}
	got := byKey(file, "--tenant=acme", "--subject=alice")
	out := strings.TrimSuffix(strings.TrimPrefix(got, "exit code 0\n--- stdout\n"), "\n--- stderr\n")
	var g frame.Grant
	if err := json.Unmarshal([]byte(out), &g); err != nil || strings.Count(g.Token, ".") != 2 || g.ExpiresAt.IsZero() {
		t.Errorf("%q, %v", got, err)
	}
	for what, args := range map[string][]string{
		"subject is missing": {file, "--tenant=acme"}, "tenant": {file, "--subject=alice"},
		"no such file": {file + ".none", "--tenant=acme", "--subject=alice"},
		"24 hours":     {file, "--tenant=acme", "--subject=alice", "--ttl=25h"},
	} {
		got := byKey(args...)
		if !strings.HasPrefix(got, "exit code 2\n--- stdout\n--- stderr\n") || !strings.Contains(got, what) ||
			strings.Contains(got, key) {
			t.Errorf("%s: %q", what, got)
		}
	}
}
