package origin

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
)

// TestOrigins checks which pages may open a socket, by their Origin and the entries of allowed-origins.
func TestOrigins(t *testing.T) {
	for _, c := range []struct {
		origin  string
		allowed []string
		ok      bool
	}{
		// Programs, and the gateway's own host, which is gateway.example.com:8080.
		{"", nil, true},
		{"http://gateway.example.com:8080", nil, true},
		{"https://Gateway.Example.com:8080", nil, true},
		{"http://gateway.example.com", nil, false},
		{"http://gateway.example.com:8081", nil, false},
		{"http://evil.example.net", nil, false},
		{"null", nil, false},
		{"http://", nil, false},
		{"gateway.example.com:8080", nil, false},
		{"http://[", nil, false},

		// Without a scheme: http and https.
		{"https://app.example.com", []string{"app.example.com"}, true},
		{"http://app.example.com", []string{"app.example.com"}, true},
		{"capacitor://app.example.com", []string{"app.example.com"}, false},
		{"https://APP.example.com", []string{"App.example.com"}, true},
		{"https://a.example.com", []string{"*.example.com"}, true},
		{"https://a.b.example.com", []string{"*.example.com"}, true},
		{"https://example.com", []string{"*.example.com"}, false},
		{"https://evilexample.com", []string{"*.example.com"}, false},
		{"https://app.example.com.evil.net", []string{"app.example.com", "*.example.com"}, false},
		{"https://app.example.com@evil.net", []string{"app.example.com"}, false},
		{"https://app.example.com:8443", []string{"app.example.com"}, false},
		{"https://app.example.com:8443", []string{"other", "app.example.com:8443"}, true},
		{"https://app.example.com", []string{"app.example.com:443"}, true},
		{"http://app.example.com", []string{"app.example.com:443"}, false},

		// With a scheme.
		{"https://app.example.com", []string{"https://app.example.com"}, true},
		{"http://app.example.com", []string{"https://app.example.com"}, false},
		{"https://app.example.com", []string{"http://app.example.com"}, false},
		{"https://app.example.com:443", []string{"https://app.example.com"}, true},
		{"https://app.example.com", []string{"https://app.example.com:443"}, true},
		{"https://app.example.com:80", []string{"https://app.example.com"}, false},
		{"https://app.example.com:8443", []string{"https://app.example.com:8443"}, true},
		{"HTTPS://APP.EXAMPLE.COM", []string{"Https://App.Example.com"}, true},
		{"https://a.example.com", []string{"https://*.example.com"}, true},
		{"http://a.example.com", []string{"https://*.example.com"}, false},
		{"https://app-1-b.example.com", []string{"https://app-*-*.example.com"}, true},
		{"https://app-1.example.com", []string{"https://app-*-*.example.com"}, false},
		{"http://localhost:5173", []string{"http://localhost:*"}, true},
		{"http://localhost", []string{"http://localhost:*"}, true},
		{"https://localhost:5173", []string{"http://localhost:*"}, false},
		{"http://localhost.evil.net:5173", []string{"http://localhost:*"}, false},
		{"http://[::1]:5173", []string{"http://[::1]:5173"}, true},
		{"http://[::2]:5173", []string{"http://[::1]:5173"}, false},
		{"capacitor://localhost", []string{"capacitor://localhost"}, true},
		{"ionic://localhost", []string{"capacitor://localhost"}, false},

		// Internationalized names: browsers send punycode.
		{"https://xn--bcher-kva.example", []string{"https://bücher.example"}, true},
		{"https://xn--bcher-kva.example", []string{"BÜCHER.example"}, true},
		{"https://xn--bcher-kva.example", []string{"https://xn--bcher-kva.example"}, true},
		{"https://shop.xn--bcher-kva.example", []string{"https://*.bücher.example"}, true},
		{"https://bucher.example", []string{"https://bücher.example"}, false},
		{"https://bücher.example", []string{"https://bücher.example"}, false},

		// Everything but what is no origin.
		{"https://anything:8443", []string{"*"}, true},
		{"capacitor://localhost", []string{"*"}, true},
		{"null", []string{"*", "null"}, false},
		{"Null", []string{"*"}, false},
		{"https://app.example.com/", []string{"*"}, false},
		{"https://app.example.com/path", []string{"*"}, false},
		{"https://app.example.com?q", []string{"*"}, false},
		{"https://app.example.com#f", []string{"*"}, false},
		{"https://user@app.example.com", []string{"*"}, false},
		{"https://app.example.com, https://evil.net", []string{"*"}, false},
		{"https://a https://b", []string{"*"}, false},
		{"//app.example.com", []string{"*"}, false},
		{"https:app.example.com", []string{"*"}, false},
		{"https://app.example.com.", []string{"https://app.example.com"}, false},
	} {
		all, err := Parse(c.allowed)
		if err != nil {
			t.Errorf("%q: %v", c.allowed, err)
			continue
		}
		r := &http.Request{Host: "gateway.example.com:8080", Header: http.Header{}}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if got := all.Allow(r); got != c.ok {
			t.Errorf("%q with %q: %v", c.origin, c.allowed, got)
		}
		if c.origin != "" {
			r.Header.Add("Origin", c.origin)
			if all.Allow(r) {
				t.Errorf("%q twice with %q is allowed", c.origin, c.allowed)
			}
		}
	}
}

// TestTheOwnOriginsScheme checks that a page without TLS is not one of a gateway with TLS.
func TestTheOwnOriginsScheme(t *testing.T) {
	for _, c := range []struct {
		host, origin string
		tls          bool
		ok           bool
	}{
		{"g.example", "https://g.example", true, true},
		{"g.example:443", "https://g.example", true, true},
		{"g.example", "http://g.example", true, false},
		{"g.example:443", "http://g.example", false, false},
		{"g.example", "http://g.example", false, true},
		{"g.example", "https://g.example", false, true}, // behind a load balancer with TLS
		{"[::1]:8080", "http://[::1]:8080", false, true},
	} {
		r := &http.Request{Host: c.host, Header: http.Header{"Origin": {c.origin}}}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if got := Set(nil).Allow(r); got != c.ok {
			t.Errorf("%q at %q, TLS %v: %v", c.origin, c.host, c.tls, got)
		}
	}
}

// TestWhatIsNoOrigin checks the entries that are refused at the start.
func TestWhatIsNoOrigin(t *testing.T) {
	for _, entry := range []string{
		"", "https://", "://app.example", "https://app.example/", "https://app.example/path", "a/b", "[a", "a]", "[::1]x",
		"https://user@app.example", "app.example:port", "app.example:", "app.example:123456", "https://app..example",
		"app.example?",
		"ht tp://app.example", "1http://app.example", "https://app example", "https://a:1:2", "[[::1]]",
	} {
		if _, err := parse(entry); err == nil {
			t.Errorf("%q is taken", entry)
		}
	}
	for _, entry := range []string{
		"*example.com", "https://*example.com", "app.*", "https://app.example.*", "192.168.1.*", "https://*", "local*",
	} {
		if _, err := parse(entry); err == nil || !strings.Contains(err.Error(), "*") {
			t.Errorf("%q: %v", entry, err)
		}
	}
	if _, err := parse("https://bü*.example.com"); err == nil {
		t.Error("a wildcard beside characters that are not ASCII is taken")
	}
}
