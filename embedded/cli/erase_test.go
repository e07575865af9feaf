package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestErase removes jobs one after the other, until one is refused.
func TestErase(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
		if strings.HasSuffix(r.URL.Path, "bad") {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"code":"invalid_state","title":"Not possible","detail":"the job is pending\u001b[2J"}`)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(srv.Close)
	got := run(t, &Env{}, srv.URL, "erase", "one", "two", "bad", "three", "--token=t")
	want := "exit code 2\n--- stdout\n--- stderr\njob one is erased\njob two is erased\nackwire: "
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "invalid_state") || strings.Contains(got, "\x1b") {
		t.Errorf("%q", got)
	}
	if len(asked) != 3 || asked[0] != "DELETE /v1/jobs/one Bearer t" {
		t.Errorf("asked %q", asked)
	}
}
