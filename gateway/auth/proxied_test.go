package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestThroughAProxyNobodyIsAnonymous checks that a request that came through a proxy needs a token, since the proxy is
// on this machine and its client need not be.
func TestThroughAProxyNobodyIsAnonymous(t *testing.T) {
	v := verifier(t, key, "local")
	for _, c := range []struct {
		what   string
		header http.Header
		local  bool
	}{
		{"no proxy", http.Header{}, true},
		{"a header of another name", http.Header{"X-Request-Id": {"1"}, "User-Agent": {"Via"}}, true},
		{"X-Forwarded-For", http.Header{"X-Forwarded-For": {"192.0.2.1"}}, false},
		{"X-Forwarded-For of this machine", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, false},
		{"an empty X-Forwarded-For", http.Header{"X-Forwarded-For": {""}}, false},
		{"X-Forwarded-Host", http.Header{"X-Forwarded-Host": {"app.example"}}, false},
		{"X-Forwarded-Proto", http.Header{"X-Forwarded-Proto": {"https"}}, false},
		{"X-Real-IP", http.Header{"X-Real-Ip": {"192.0.2.1"}}, false},
		{"Forwarded", http.Header{"Forwarded": {"for=192.0.2.1"}}, false},
		{"Via", http.Header{"Via": {"1.1 proxy"}}, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/v1/jobs", nil)
		r.Header = c.header
		id, present, err := v.Identify(r)
		switch {
		case present:
			t.Errorf("%s: a token is seen", c.what)
		case c.local && (err != nil || id.Tenant != "local"):
			t.Errorf("%s: %+v, %v", c.what, id, err)
		case !c.local && (!errors.Is(err, ErrProxied) || !errors.Is(err, ErrUnauthenticated) || id.Tenant != ""):
			t.Errorf("%s: %+v, %v", c.what, id, err)
		}
	}
}
