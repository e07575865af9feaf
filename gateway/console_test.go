package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

const consoleAddr = "localhost:8083"

// consoleAt asks a listener for a path, from outside of it, as it is: no redirect is followed and nothing unpacked.
func (w *world) consoleAt(addr, method, path string, header http.Header) (*http.Response, string) {
	w.t.Helper()
	transport := &http.Transport{DialContext: w.net.Host("client").Dial, DisableKeepAlives: true, DisableCompression: true}
	r, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+addr+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(body)
}

// TestConsoleIsOffByDefault: a gateway has the console on no listener, unless it is told to.
func TestConsoleIsOffByDefault(t *testing.T) {
	if d := Defaults(); d.ConsoleListen != "" || d.Console {
		t.Errorf("%q, %v", d.ConsoleListen, d.Console)
	}
	inWorld(t, nil, func(t *testing.T, w *world) {
		if resp, _ := w.consoleAt(gatewayAddr, "GET", "/console/", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("%d", resp.StatusCode)
		}
		if addr := w.gateway.ConsoleAddr(); addr != "" {
			t.Errorf("it says that it is at %s", addr)
		}
	})
}

// TestConsoleListener: the console's own listener has the page and the API, for tokens; that of clients has no page.
func TestConsoleListener(t *testing.T) {
	configure := func(c *Config) {
		tokensOnly(c)
		c.ConsoleListen = consoleAddr
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		if resp, _ := w.consoleAt(gatewayAddr, "GET", "/console/", nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("clients' listener: %d", resp.StatusCode)
		}
		if resp, _ := w.consoleAt(consoleAddr, "GET", "/console/", nil); resp.StatusCode != http.StatusOK {
			t.Errorf("the page: %d", resp.StatusCode)
		}
		for _, path := range []string{"/console/session", "/v1/stats"} {
			if resp, body := w.consoleAt(consoleAddr, "GET", path, nil); resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s without a token: %d %s", path, resp.StatusCode, body)
			}
		}
		token, err := SignToken(testKey, "acme", "olga", time.Hour, "operate", "erase")
		if err != nil {
			t.Fatal(err)
		}
		bearer := http.Header{"Authorization": {"Bearer " + token}}
		resp, body := w.consoleAt(consoleAddr, "GET", "/console/session", bearer)
		const want = `{"tenant":"acme","subject":"olga",` +
			`"permissions":["cancel","cancel:tenant","erase","operate","read","read:tenant"],"anonymous":false,"expiresAt":`
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(body, want) ||
			resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("session: %d %s", resp.StatusCode, body)
		}
		w.eventually("the API answers there", func() bool {
			resp, _ := w.consoleAt(consoleAddr, "GET", "/v1/stats", bearer)
			return resp.StatusCode == http.StatusOK
		})
	})
}

// TestConsoleOnTheClientsListener: where clients need no token, as in `make run`, the page needs none either; a page of
// another site is told nothing.
func TestConsoleOnTheClientsListener(t *testing.T) {
	inWorld(t, func(c *Config) { c.Console = true }, func(t *testing.T, w *world) {
		resp, body := w.consoleAt(gatewayAddr, "GET", "/console/session", nil)
		if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"anonymous":true`) ||
			!strings.Contains(body, `"operate"`) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		granted, _ := w.consoleAt(gatewayAddr, "GET", "/console/session?grant=x", nil)
		if granted.StatusCode != http.StatusForbidden {
			t.Errorf("a grant in the URL: %d", granted.StatusCode)
		}
		evil := http.Header{"Origin": {"https://evil.example"}}
		if resp, _ := w.consoleAt(gatewayAddr, "GET", "/console/session", evil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a page of another site: %d", resp.StatusCode)
		}
		if got := w.http("GET", "/v1/stats", nil, nil); got.status == http.StatusNotFound {
			t.Errorf("the API is gone: %d %s", got.status, got.body)
		}
	})
}

// TestConsoleHeaders: what the page's files are served with.
func TestConsoleHeaders(t *testing.T) {
	inWorld(t, func(c *Config) { c.Console = true }, func(t *testing.T, w *world) {
		zipped := http.Header{"Accept-Encoding": {"br, gzip"}}
		page, text := w.consoleAt(gatewayAddr, "GET", "/console/", nil)
		asset := regexp.MustCompile(`src="\./(assets/main-[A-Z0-9]+\.js)"`).FindStringSubmatch(text)
		if asset == nil || page.Header.Get("Cache-Control") != "no-cache" {
			t.Fatalf("%v\n%s", page.Header, text)
		}
		policy := page.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") ||
			strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
			t.Errorf("policy: %s", policy)
		}
		if regexp.MustCompile(`(?i)<script>|<style|\son\w+=|\sstyle=`).MatchString(text) {
			t.Errorf("the page has something inline, which its policy forbids:\n%s", text)
		}
		js, packed := w.consoleAt(gatewayAddr, "GET", "/console/"+asset[1], zipped)
		if js.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(js.Header.Get("Cache-Control"), "immutable") ||
			js.Header.Get("Vary") != "Accept-Encoding" || !strings.HasPrefix(js.Header.Get("Content-Type"), "text/javascript") ||
			js.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%v", js.Header)
		}
		r, err := gzip.NewReader(strings.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		unpacked, err := io.ReadAll(r)
		plain, whole := w.consoleAt(gatewayAddr, "GET", "/console/"+asset[1], nil)
		if err != nil || !bytes.Equal(unpacked, []byte(whole)) || plain.Header.Get("Content-Encoding") != "" ||
			plain.Header.Get("ETag") == js.Header.Get("ETag") {
			t.Errorf("plain: %v, %v", plain.Header, err)
		}
		for _, resp := range []*http.Response{page, js} {
			again := resp.Request.Header.Clone()
			again.Set("If-None-Match", resp.Header.Get("ETag"))
			same, body := w.consoleAt(gatewayAddr, "GET", resp.Request.URL.Path, again)
			if resp.Header.Get("ETag") == "" || same.StatusCode != http.StatusNotModified || body != "" {
				t.Errorf("%s again: %d", resp.Request.URL.Path, same.StatusCode)
			}
		}
		if head, body := w.consoleAt(gatewayAddr, "HEAD", "/console/", nil); head.StatusCode != http.StatusOK || body != "" {
			t.Errorf("HEAD: %d %q", head.StatusCode, body)
		}
		if post, _ := w.consoleAt(gatewayAddr, "POST", "/console/", nil); post.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("POST: %d", post.StatusCode)
		}
	})
}

// TestConsoleIsRelative: nothing in the page's answers names its place, so that it works below any prefix.
func TestConsoleIsRelative(t *testing.T) {
	inWorld(t, func(c *Config) { c.Console = true }, func(t *testing.T, w *world) {
		resp, _ := w.consoleAt(gatewayAddr, "GET", "/console?state=failed", nil)
		if resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != "console/?state=failed" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		for path, base := range map[string]string{
			"/console/": `"./assets/`, "/console/jobs": `"./assets/`, "/console/jobs/x": `"../assets/`,
		} {
			_, text := w.consoleAt(gatewayAddr, "GET", path, nil)
			if n := strings.Count(text, "assets/"); n != 3 || strings.Count(text, base) != n || strings.Contains(text, "BASE") {
				t.Errorf("%s:\n%s", path, text)
			}
		}
		for _, path := range []string{
			"/console/assets/none.js", "/console/assets/index.html", "/console/assets//root", "/console/a/b/c",
		} {
			if resp, _ := w.consoleAt(gatewayAddr, "GET", path, nil); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: %d", path, resp.StatusCode)
			}
		}
		if resp, _ := w.consoleAt(gatewayAddr, "GET", "/consoles", nil); resp.Header.Get("Content-Security-Policy") != "" {
			t.Error("/consoles is taken for the console")
		}
	})
}
