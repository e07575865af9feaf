package login

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// provider is a provider of logins: it gives a code for every request, and a token for a code and its verifier.
type provider struct {
	*httptest.Server
	challenge string       // of the last login
	basic     string       // the secret that was given in the header
	form      url.Values   // of the last request for a token
	fail      http.Handler // answers requests for tokens, if set
	tokenURL  string       // that is published; its own if empty
	asked     int          // how often the endpoints were read
}

func newProvider(t *testing.T) *provider {
	p := &provider{}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.asked++
		tokens := p.tokenURL
		if tokens == "" {
			tokens = p.URL + "/token"
		}
		_, _ = fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":%q,"token_endpoint":%q,"jwks_uri":%q}`,
			p.URL, p.URL+"/authorize", tokens, p.URL+"/keys")
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		if p.fail != nil {
			p.fail.ServeHTTP(w, r)
			return
		}
		_ = r.ParseForm()
		p.form = r.PostForm
		_, p.basic, _ = r.BasicAuth()
		sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
		w.Header().Set("Content-Type", "application/json")
		if r.PostForm.Get("grant_type") == "authorization_code" &&
			base64.RawURLEncoding.EncodeToString(sum[:]) != p.challenge {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
			return
		}
		_, _ = w.Write([]byte(`{"access_token":"the access token","id_token":"the ID token","token_type":"Bearer",` +
			`"refresh_token":"next","expires_in":300}`))
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

const page = "https://ops.example/acme/console/callback"

// send sends a page's request.
func send(
	to func(http.ResponseWriter, *http.Request) error, body string, cookies []*http.Cookie, h http.Header,
) (*http.Response, error) {
	r := httptest.NewRequest(http.MethodPost, "https://ops.example/console/x", strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for name, values := range h {
		r.Header[name] = values
	}
	for _, c := range cookies {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	err := to(w, r)
	return w.Result(), err
}

// begin begins a login, and returns the URL at the provider and the cookie.
func begin(t *testing.T, p *Provider, at *provider) (url.Values, []*http.Cookie) {
	t.Helper()
	var start Start
	resp, err := send(func(w http.ResponseWriter, r *http.Request) (err error) {
		start, err = p.Begin(w, r)
		return err
	}, `{"redirect":"`+page+`"}`, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(start.URL)
	if err != nil || !strings.HasPrefix(start.URL, at.URL+"/authorize?") {
		t.Fatalf("%s, %v", start.URL, err)
	}
	at.challenge = u.Query().Get("code_challenge")
	return u.Query(), resp.Cookies()
}

// finish finishes one.
func finish(p *Provider, body map[string]string, cookies []*http.Cookie) (tokens Tokens, err error) {
	b, err := json.Marshal(body)
	if err != nil {
		return tokens, err
	}
	_, err = send(func(w http.ResponseWriter, r *http.Request) (err error) {
		tokens, err = p.Finish(w, r)
		return err
	}, string(b), cookies, nil)
	return tokens, err
}

func open(at *provider, change func(*Config)) *Provider {
	cfg := Config{Issuer: at.URL, ClientID: "console", Scopes: []string{"openid", "groups"}, Token: AccessToken}
	if change != nil {
		change(&cfg)
	}
	return New(cfg, &http.Client{Transport: http.DefaultTransport}, slog.New(slog.DiscardHandler), func() {})
}

// TestLogin: the way of a login, the cookie that holds it, and the token that is given; then another for that.
func TestLogin(t *testing.T) {
	at := newProvider(t)
	p := open(at, nil)
	q, cookies := begin(t, p, at)
	if q.Get("client_id") != "console" || q.Get("redirect_uri") != page || q.Get("scope") != "openid groups" ||
		q.Get("code_challenge_method") != "S256" || q.Get("response_type") != "code" {
		t.Errorf("the provider is asked %v", q)
	}
	if c := cookies[0]; !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "" ||
		strings.Contains(q.Encode(), c.Value) {
		t.Errorf("cookie %v", c)
	}
	tokens, err := finish(p, map[string]string{"code": "c", "state": q.Get("state"), "iss": at.URL}, cookies)
	if err != nil || tokens != (Tokens{Token: "the access token", Refresh: "next"}) {
		t.Fatalf("%+v, %v", tokens, err)
	}
	if f := at.form; f.Get("code") != "c" || f.Get("client_id") != "console" || f.Get("redirect_uri") != page ||
		at.basic != "" {
		t.Errorf("the token is asked for by %v", f)
	}
	if tokens, err = finish(p, map[string]string{"refresh": "next"}, nil); err != nil || tokens.Token == "" {
		t.Errorf("%+v, %v", tokens, err)
	}
	if f := at.form; f.Get("grant_type") != "refresh_token" || f.Get("refresh_token") != "next" {
		t.Errorf("the next token is asked for by %v", f)
	}
	if at.asked != 1 {
		t.Errorf("the endpoints were read %d times", at.asked)
	}
}

// TestLoginOfAClientWithASecret: the secret goes to the provider and not to the browser; the ID token may be the one.
func TestLoginOfAClientWithASecret(t *testing.T) {
	at := newProvider(t)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hush hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := open(at, func(c *Config) { c.SecretFile, c.Token = file, IDToken })
	q, cookies := begin(t, p, at)
	tokens, err := finish(p, map[string]string{"code": "c", "state": q.Get("state")}, cookies)
	if err != nil || tokens.Token != "the ID token" || at.basic != "hush+hush" && at.basic != "hush hush" {
		t.Errorf("%+v, %v; secret %q", tokens, err, at.basic)
	}
}

// TestLoginRefused: each thing that is wrong has its code.
func TestLoginRefused(t *testing.T) {
	at := newProvider(t)
	p := open(at, nil)
	starts := map[string]struct {
		body string
		h    http.Header
		code code.Code
	}{
		"another host":           {`{"redirect":"https://evil.example/console/callback"}`, nil, code.InvalidFrame},
		"another path":           {`{"redirect":"https://ops.example/console/"}`, nil, code.InvalidFrame},
		"a query":                {`{"redirect":"` + page + `?a=b"}`, nil, code.InvalidFrame},
		"a scheme":               {`{"redirect":"javascript://ops.example/console/callback"}`, nil, code.InvalidFrame},
		"a user":                 {`{"redirect":"https://u@ops.example/console/callback"}`, nil, code.InvalidFrame},
		"no JSON":                {`redirect`, nil, code.InvalidFrame},
		"too large":              {`{"redirect":"` + strings.Repeat("x", maxBody) + `"}`, nil, code.PayloadTooLarge},
		"a page of another site": {`{"redirect":"` + page + `"}`, http.Header{"Sec-Fetch-Site": {"cross-site"}}, code.Forbidden},
		"an older browser's": {`{"redirect":"` + page + `"}`,
			http.Header{"Sec-Fetch-Site": nil, "Origin": {"https://evil.example"}}, code.Forbidden},
	}
	for name, c := range starts {
		_, err := send(func(w http.ResponseWriter, r *http.Request) error {
			_, err := p.Begin(w, r)
			return err
		}, c.body, nil, c.h)
		if got := codeOf(err); got != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	q, cookies := begin(t, p, at)
	state := q.Get("state")
	broken := []*http.Cookie{{Name: cookieName, Value: "e30"}}
	for name, c := range map[string]struct {
		body    map[string]string
		cookies []*http.Cookie
	}{
		"no cookie":        {map[string]string{"code": "c", "state": state}, nil},
		"a broken cookie":  {map[string]string{"code": "c", "state": state}, broken},
		"another state":    {map[string]string{"code": "c", "state": "s"}, cookies},
		"no state":         {map[string]string{"code": "c"}, cookies},
		"no code":          {map[string]string{"state": state}, cookies},
		"another provider": {map[string]string{"code": "c", "state": state, "iss": "https://evil.example"}, cookies},
	} {
		if tokens, err := finish(p, c.body, c.cookies); codeOf(err) != code.Unauthenticated || tokens != (Tokens{}) {
			t.Errorf("%s: %+v, %v", name, tokens, err)
		}
	}
	at.challenge = "another"
	if _, err := finish(p, map[string]string{"code": "c", "state": state}, cookies); codeOf(err) != code.Unauthenticated {
		t.Errorf("a code of another login: %v", err)
	}
}

func codeOf(err error) code.Code {
	var p frame.Problem
	errors.As(err, &p)
	return p.Code
}

// TestProviderIsBad: a provider that is away, broken, endless or published unsafe endpoints is unavailable, and known
// endpoints are used on.
func TestProviderIsBad(t *testing.T) {
	at := newProvider(t)
	p := open(at, nil)
	q, cookies := begin(t, p, at)
	for name, answer := range map[string]http.HandlerFunc{
		"500":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, err := w.Write(bytes.Repeat([]byte(" "), 1<<16))
				if err != nil {
					return
				}
			}
		},
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
	} {
		at.fail = answer
		_, err := finish(p, map[string]string{"code": "c", "state": q.Get("state")}, cookies)
		if codeOf(err) != code.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	other := newProvider(t)
	other.tokenURL = "http://accounts.example/token"
	away := newProvider(t)
	away.Close()
	for name, p := range map[string]*Provider{"unsafe endpoint": open(other, nil), "away": open(away, nil)} {
		_, err := send(func(w http.ResponseWriter, r *http.Request) error {
			_, err := p.Begin(w, r)
			return err
		}, `{"redirect":"`+page+`"}`, nil, nil)
		if codeOf(err) != code.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	p.read = p.read.Add(-2 * known)
	at.Close()
	if _, err := p.discover(t.Context()); err != nil {
		t.Errorf("known endpoints are forgotten: %v", err)
	}
}

// TestLoginsAtOnce: requests that wait for the provider are bounded.
func TestLoginsAtOnce(t *testing.T) {
	p := open(newProvider(t), nil)
	for range maxAtOnce {
		p.places <- struct{}{}
	}
	if _, err := finish(p, map[string]string{"refresh": "next"}, nil); codeOf(err) != code.Overloaded {
		t.Errorf("%v", err)
	}
}

// TestConfig: what settings may be.
func TestConfig(t *testing.T) {
	sound := Config{Issuer: "https://accounts.example", ClientID: "c", Scopes: []string{"openid"}, Token: AccessToken}
	for _, c := range []struct {
		name   string
		change func(*Config)
		sound  bool
	}{
		{"as it is", func(*Config) {}, true},
		{"on this machine", func(c *Config) { c.Issuer = "http://127.0.0.1:9000/realm" }, true},
		{"off", func(c *Config) { c.Issuer, c.ClientID = "", "" }, true},
		{"a client without a provider", func(c *Config) { c.Issuer = "" }, false},
		{"no client", func(c *Config) { c.ClientID = "" }, false},
		{"http", func(c *Config) { c.Issuer = "http://accounts.example" }, false},
		{"no URL", func(c *Config) { c.Issuer = "accounts" }, false},
		{"no openid", func(c *Config) { c.Scopes = []string{"groups"} }, false},
		{"another token", func(c *Config) { c.Token = "refresh" }, false},
		{"no such file", func(c *Config) { c.SecretFile = filepath.Join(t.TempDir(), "none") }, false},
	} {
		cfg := sound
		c.change(&cfg)
		if err := cfg.Validate(); (err == nil) != c.sound {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if New(Config{}, nil, nil, nil) != nil {
		t.Error("there is a provider that nobody has named")
	}
}
