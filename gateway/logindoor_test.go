package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/console/login"
	"github.com/ackwire/ackwire/gateway/limits"
)

const providerAddr = "localhost:9000"

// loginAt is a login by a provider.
func loginAt(issuer string) login.Config {
	return login.Config{Issuer: issuer, ClientID: "console", Scopes: []string{"openid"}, Token: login.AccessToken}
}

// identityProvider is an OpenID Connect provider for tests. It gives a token to each client that asks for one.
type identityProvider struct {
	hangs  atomic.Bool // answers nothing
	asking atomic.Int64
	most   atomic.Int64 // of asking
}

// newIdentityProvider starts a provider in the world's network.
func (w *world) newIdentityProvider() *identityProvider {
	w.t.Helper()
	p := &identityProvider{}
	l, err := w.net.Host("provider").Listen(w.t.Context(), "tcp", providerAddr)
	if err != nil {
		w.t.Fatal(err)
	}
	server := &http.Server{Handler: p}
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	w.t.Cleanup(func() {
		_ = server.Close()
		served.Wait()
	})
	return p
}

// ServeHTTP implements http.Handler.
func (p *identityProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const issuer = "http://" + providerAddr
	p.most.Store(max(p.most.Load(), p.asking.Add(1)))
	defer p.asking.Add(-1)
	_, _ = io.Copy(io.Discard, r.Body) // else nobody would notice that who asks has left
	if p.hangs.Load() {
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/token" {
		_, _ = fmt.Fprint(w, `{"access_token":"t","token_type":"Bearer","expires_in":300}`)
		return
	}
	_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`, issuer,
		issuer+"/authorize", issuer+"/token", issuer+"/keys")
}

// TestLoginsAreBounded: logins at the console cause a bounded number of requests to the provider, each with bounded
// bytes and a bounded time. Each login is counted.
func TestLoginsAreBounded(t *testing.T) {
	configure := func(c *Config) {
		tokensOnly(c)
		c.Console, c.ConsoleLogin = true, loginAt("http://"+providerAddr)
	}
	inWorld(t, configure, func(t *testing.T, w *world) {
		p := w.newIdentityProvider()
		refresh := func() answer {
			return w.http("POST", "/console/token", nil, strings.NewReader(`{"refresh":"r"}`))
		}
		for path, allow := range map[string]string{"/console/login": "GET, HEAD, POST", "/console/token": "POST",
			"/console/session": "GET, HEAD"} {
			if a := w.http("DELETE", path, nil, nil); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != allow {
				t.Errorf("DELETE %s: %d, Allow %q", path, a.status, a.header.Get("Allow"))
			}
		}
		for _, path := range []string{"/console/login", "/console/token"} {
			if a := w.http("POST", path, nil, strings.NewReader(`{"x":"`+strings.Repeat("x", 17<<10)+`"}`)); a.status != 413 {
				t.Errorf("17 KiB to %s: %d %s", path, a.status, a.body)
			}
			s := w.slow(path)
			got, took := s.dribble("POST "+path+" HTTP/1.1\r\nHost: "+gatewayAddr+"\r\nContent-Length: 1000\r\n\r\n", ' ')
			if took > 35*time.Second || !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("a slow body to %s: %q after %s", path, got, took)
			}
		}
		statuses := map[int]int{}
		for range 110 {
			a := refresh()
			statuses[a.status]++
			if a.status != http.StatusOK && (a.code != "rate_limited" || a.header.Get("Retry-After") == "") {
				t.Fatalf("%d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
			}
		}
		turned := w.gauge("ackwire_gateway_turned_away_total", string(limits.Logins))
		if statuses[200] < 100 || statuses[429] == 0 || turned != float64(statuses[429]) ||
			w.gauge("ackwire_gateway_http_requests_total", "console_token", "429") != turned ||
			w.gauge("ackwire_gateway_http_requests_total", "console_token", "200") != float64(statuses[200]) {
			t.Errorf("answers %v, turned away %v", statuses, turned)
		}
		if a := w.http("GET", "/console/session", w.header("acme", "olga"), nil); a.status != http.StatusOK {
			t.Errorf("who has logged in is not served: %d %s", a.status, a.body)
		}

		time.Sleep(10 * time.Second) // the rate has recovered
		p.hangs.Store(true)
		var all sync.WaitGroup
		var overloaded, unavailable atomic.Int64
		began := time.Now()
		for range 40 {
			all.Go(func() {
				switch a := refresh(); a.code {
				case "overloaded":
					overloaded.Add(1)
				case "unavailable":
					unavailable.Add(1)
				default:
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); p.most.Load() > 16 || unavailable.Load() != 16 || overloaded.Load() != 24 ||
			took > 15*time.Second {
			t.Errorf("%d at once; %d were overloaded, %d unavailable, within %s", p.most.Load(), overloaded.Load(),
				unavailable.Load(), took)
		}
	})
}

// TestLoginsAtAProviderThatIsAway: nobody waits longer than for one reading of its endpoints, however many log in.
func TestLoginsAtAProviderThatIsAway(t *testing.T) {
	configure := func(c *Config) { c.Console, c.ConsoleLogin = true, loginAt("http://"+providerAddr) }
	inWorld(t, configure, func(t *testing.T, w *world) {
		w.newIdentityProvider().hangs.Store(true)
		body := `{"redirect":"http://` + gatewayAddr + `/console/callback"}`
		var all sync.WaitGroup
		began := time.Now()
		for range 16 {
			all.Go(func() {
				if a := w.http("POST", "/console/login", nil, strings.NewReader(body)); a.code != "unavailable" {
					t.Errorf("%d %s", a.status, a.body)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("the last one waited for %s", took)
		}
	})
}

// TestConsoleRequestsAreCounted: each kind of request to the console is a route of the metrics, whatever its path, and
// has a request ID.
func TestConsoleRequestsAreCounted(t *testing.T) {
	inWorld(t, func(c *Config) { c.Console = true }, func(t *testing.T, w *world) {
		for _, path := range []string{"/", "/jobs", "/jobs/x", "/a/b/c", "/assets/none.js", "/session", "/login"} {
			if a := w.http("GET", "/console"+path, nil, nil); a.header.Get("X-Request-Id") == "" {
				t.Errorf("%s: no request ID", path)
			}
		}
		for route, want := range map[[2]string]float64{
			{"console_page", "200"}: 3, {"console_page", "404"}: 1, {"console_asset", "404"}: 1,
			{"console_session", "200"}: 1, {"console_login", "200"}: 1, {"console_token", "200"}: 0, {"other", "404"}: 0,
		} {
			if n := w.gauge("ackwire_gateway_http_requests_total", route[0], route[1]); n != want {
				t.Errorf("%v: %v requests, want %v", route, n, want)
			}
		}
	})
}
