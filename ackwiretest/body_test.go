package ackwiretest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBodies: each route with a body refuses what no gateway takes, with a gateway's codes.
func TestBodies(t *testing.T) {
	s := New(t)
	for _, path := range []string{"/v1/jobs", "/v1/jobs:batch", "/v1/bulk", "/v1/grants"} {
		for _, tc := range []struct {
			kind, body string
			status     int
			code       string
		}{
			{"text/plain", "{}", http.StatusUnsupportedMediaType, "unsupported_media_type"},
			{"", "{}", http.StatusUnsupportedMediaType, "unsupported_media_type"},
			{"application/json", `{"job":`, http.StatusBadRequest, "invalid_frame"},
			{"application/json", `{"job":"` + strings.Repeat("x", maxBatchBody) + `"}`, http.StatusRequestEntityTooLarge,
				"payload_too_large"},
		} {
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(tc.body))
			if tc.kind != "" {
				r.Header.Set("Content-Type", tc.kind)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), `"code":"`+tc.code+`"`) {
				t.Errorf("%s with %d bytes of %q: %d %.200s", path, len(tc.body), tc.kind, w.Code, w.Body)
			}
		}
	}
}
