package ackwire

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
)

func TestResult(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer good":
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"code":"unauthenticated","title":"Not authenticated","retryable":false}`)
		case r.URL.Path == "/v1/jobs/job-1/result":
			w.Header().Set("Content-Type", "text/csv")
			w.Header().Set("Content-Disposition", `attachment; filename="a b.csv"`)
			_, _ = io.WriteString(w, "day,sales\n")
		default:
			w.WriteHeader(http.StatusConflict)
			_, _ = io.WriteString(w, `{"code":"invalid_state","title":"x","retryable":false}`)
		}
	}))
	defer srv.Close()
	r, err := overHTTP(t, srv.URL, WithToken("good")).Job("job-1").Result(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != "day,sales\n" || r.Name != "a b.csv" || r.ContentType != "text/csv" ||
		r.Size != int64(len(b)) {
		t.Errorf("%q, %+v, %v", b, r, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := overHTTP(t, srv.URL, WithToken("good")).Job("job-2").Result(t.Context()); CodeOf(
		err) != code.InvalidState {
		t.Errorf("a job without a result: %v", err)
	}
	if _, err := overHTTP(t, srv.URL, WithToken("bad")).Job("job-1").Result(t.Context()); CodeOf(
		err) != code.Unauthenticated {
		t.Errorf("a bad token: %v", err)
	}
	if _, err := overHTTP(t, srv.URL).Job(strings.Repeat("x", 1000)).Result(t.Context()); CodeOf(err) != code.NotFound {
		t.Errorf("an ID that is none: %v", err)
	}
}
