package login

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// Bounds. What they bound can be caused by anybody who reaches the console.
const (
	maxBody   = 16 << 10
	maxAnswer = 1 << 20 // of the provider
	maxAtOnce = 16      // requests to the provider
	askTime   = 10 * time.Second
	// maxRate is how many requests to the provider there are in a second, and maxBurst how many at once after a pause. A
	// login makes two, and an open page one each time that its token expires.
	maxRate  = 20
	maxBurst = 100
	// known is how long the discovered endpoints are used before they are read again.
	known = time.Hour
	// again is when they are read again if that has failed.
	again = time.Minute
	// maxTrip is how long somebody may take at the provider.
	maxTrip = 10 * time.Minute
)

// callback is the path, below the console, to which the provider sends the browser back.
const callback = "/callback"

// cookieName is the cookie that holds a login under way. It has no path of its own, so that it belongs to the console
// wherever a proxy puts that: browsers take the folder of the request's path (RFC 6265 §5.1.4).
const cookieName = "ackwire-console-login"

// Provider is the provider at which operators log in. It is safe for concurrent use.
type Provider struct {
	cfg    Config
	client *http.Client
	log    *slog.Logger
	places chan struct{}
	rate   *rate.Limiter
	turned func() // counts a request that was refused because there are too many

	reading  chan struct{} // of capacity 1; whoever has its place reads the endpoints, and owns the fields below
	endpoint oauth2.Endpoint
	read     time.Time
	failed   time.Time // when reading them has failed last, by err
	err      error
}

// New returns the provider of a valid configuration, or nil if that names none. client asks the provider. turnedAway is
// called for each request that is refused because there are too many.
func New(cfg Config, client *http.Client, log *slog.Logger, turnedAway func()) *Provider {
	if !cfg.On() {
		return nil
	}
	bounded := *client
	bounded.Transport = bound{client.Transport}
	bounded.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Provider{cfg: cfg, client: &bounded, log: log, places: make(chan struct{}, maxAtOnce),
		rate: rate.NewLimiter(maxRate, maxBurst), turned: turnedAway, reading: make(chan struct{}, 1)}
}

// bound bounds the bytes of answers.
type bound struct{ next http.RoundTripper }

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// Name is what people are told of the provider: its host.
func (p *Provider) Name() string {
	u, err := url.Parse(p.cfg.Issuer)
	if err != nil {
		return ""
	}
	return u.Host
}

// Start is the answer to Begin: where the browser goes.
type Start struct {
	URL string `json:"url"`
}

// trip is a login under way, in the browser's cookie.
type trip struct {
	State    string `json:"s"`
	Verifier string `json:"v"`
	Redirect string `json:"r"`
}

// Begin begins a login: it answers where the browser is to go, and gives it a cookie to come back with. The body has
// the redirect URI, which is the page's own.
func (p *Provider) Begin(w http.ResponseWriter, r *http.Request) (Start, error) {
	var asked struct {
		Redirect string `json:"redirect"`
	}
	if err := body(w, r, &asked); err != nil {
		return Start{}, err
	}
	back, err := url.Parse(asked.Redirect)
	if err != nil || back.Host != r.Host || back.Scheme != "https" && back.Scheme != "http" || back.User != nil ||
		back.RawQuery != "" || back.Fragment != "" || !strings.HasSuffix(back.Path, callback) {
		return Start{}, frame.NewProblem(code.InvalidFrame, "redirect must be the console's own URL and "+callback+
			"; behind a proxy that must keep the Host header")
	}
	cfg, leave, err := p.asked(r.Context(), asked.Redirect)
	if err != nil {
		return Start{}, err
	}
	defer leave()
	t := trip{State: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Redirect: asked.Redirect}
	value, err := plainjson.Marshal(t)
	if err != nil {
		return Start{}, err
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: base64.RawURLEncoding.EncodeToString(value), MaxAge: int(maxTrip.Seconds()),
		HttpOnly: true, Secure: back.Scheme == "https", SameSite: http.SameSiteStrictMode,
	})
	return Start{cfg.AuthCodeURL(t.State, oauth2.S256ChallengeOption(t.Verifier))}, nil
}

// Tokens is the answer to Finish.
type Tokens struct {
	Token string `json:"token"`
	// Refresh gets another token when this one expires; empty if the provider gives none.
	Refresh string `json:"refresh,omitempty"`
}

// Finish exchanges what the browser came back with, or what an earlier answer had as Refresh, for a token.
func (p *Provider) Finish(w http.ResponseWriter, r *http.Request) (Tokens, error) {
	var given struct {
		Code    string `json:"code"`
		State   string `json:"state"`
		Issuer  string `json:"iss"`
		Refresh string `json:"refresh"`
	}
	if err := body(w, r, &given); err != nil {
		return Tokens{}, err
	}
	if given.Refresh != "" {
		return p.exchange(r.Context(), "", func(ctx context.Context, cfg *oauth2.Config) (*oauth2.Token, error) {
			return cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: given.Refresh}).Token()
		})
	}
	t, err := under(r)
	http.SetCookie(w, &http.Cookie{Name: cookieName, MaxAge: -1, HttpOnly: true, SameSite: http.SameSiteStrictMode})
	switch {
	case err != nil:
		return Tokens{}, refused("the login took longer than ten minutes, or was begun in another browser")
	case subtle.ConstantTimeCompare([]byte(t.State), []byte(given.State)) != 1:
		return Tokens{}, refused("this is the answer to another login")
	case given.Issuer != "" && given.Issuer != p.cfg.Issuer: // RFC 9207
		return Tokens{}, refused("the answer is of another provider")
	case given.Code == "":
		return Tokens{}, refused("the provider gave no code")
	}
	return p.exchange(r.Context(), t.Redirect, func(ctx context.Context, cfg *oauth2.Config) (*oauth2.Token, error) {
		return cfg.Exchange(ctx, given.Code, oauth2.VerifierOption(t.Verifier))
	})
}

func refused(detail string) error {
	return frame.NewProblem(code.Unauthenticated, detail+": log in again")
}

// under returns the login under way.
func under(r *http.Request) (t trip, err error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return t, err
	}
	b, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return t, err
	}
	if err := json.Unmarshal(b, &t); err != nil || t.State == "" || t.Verifier == "" {
		return t, errors.New("not a login")
	}
	return t, nil
}

// exchange asks the provider for a token.
func (p *Provider) exchange(
	ctx context.Context, redirect string, ask func(context.Context, *oauth2.Config) (*oauth2.Token, error),
) (Tokens, error) {
	cfg, leave, err := p.asked(ctx, redirect)
	if err != nil {
		return Tokens{}, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, p.client), askTime)
	defer cancel()
	got, err := ask(ctx, cfg)
	var answer *oauth2.RetrieveError
	switch {
	case errors.As(err, &answer) && answer.ErrorCode != "" && answer.Response.StatusCode < http.StatusInternalServerError:
		p.log.Warn("console: the provider refused a login", "code", answer.ErrorCode, "detail", answer.ErrorDescription)
		return Tokens{}, refused("the provider refused it (" + answer.ErrorCode + ")")
	case err != nil:
		return Tokens{}, p.away(err)
	}
	tokens := Tokens{Token: got.AccessToken, Refresh: got.RefreshToken}
	if p.cfg.Token == IDToken {
		tokens.Token, _ = got.Extra("id_token").(string)
	}
	if tokens.Token == "" {
		p.log.Warn("console: the provider's answer has no token of the kind that is set", "console-oidc-token", p.cfg.Token)
		return Tokens{}, refused("the provider gave no " + p.cfg.Token + " token")
	}
	return tokens, nil
}

// away logs why the provider cannot be asked, and returns the error for the page, which learns no address of it.
func (p *Provider) away(err error) error {
	p.log.Warn("console: the provider of logins does not answer", "issuer", p.cfg.Issuer, "err", err)
	return frame.NewProblem(code.Unavailable, "the provider of logins does not answer")
}

// asked returns how the provider is asked, and takes one of the places for that until leave.
func (p *Provider) asked(ctx context.Context, redirect string) (cfg *oauth2.Config, leave func(), err error) {
	turn := p.rate.Reserve()
	if wait := turn.Delay(); wait > 0 {
		turn.Cancel()
		p.turned()
		problem := frame.NewProblem(code.RateLimited, fmt.Sprintf("at most %d logins in a second", maxRate/2))
		problem.RetryAfter = wait.Seconds()
		return nil, nil, problem
	}
	select {
	case p.places <- struct{}{}:
	default:
		p.turned()
		problem := frame.NewProblem(code.Overloaded, "many log in at this moment")
		problem.RetryAfter = 1
		return nil, nil, problem
	}
	leave = func() { <-p.places }
	secret, err := p.cfg.secret()
	if err == nil {
		var at oauth2.Endpoint
		if at, err = p.discover(ctx); err == nil {
			if secret == "" { // a public client names itself among the parameters (RFC 6749 §3.2.1)
				at.AuthStyle = oauth2.AuthStyleInParams
			}
			return &oauth2.Config{
				ClientID: p.cfg.ClientID, ClientSecret: secret, Endpoint: at, RedirectURL: redirect, Scopes: p.cfg.Scopes,
			}, leave, nil
		}
	}
	leave()
	return nil, nil, p.away(err)
}

// discover returns the provider's endpoints. Those that were read within the last hour are used again, and older ones
// while the provider does not tell newer ones. Those who have waited for a reading that failed have its error, so that
// nobody waits longer than for one.
func (p *Provider) discover(ctx context.Context) (oauth2.Endpoint, error) {
	began := time.Now()
	select {
	case p.reading <- struct{}{}:
		defer func() { <-p.reading }()
	case <-ctx.Done():
		return oauth2.Endpoint{}, ctx.Err()
	}
	switch {
	case !p.read.IsZero() && time.Since(p.read) < known:
		return p.endpoint, nil
	case p.read.IsZero() && p.err != nil && !p.failed.Before(began):
		return oauth2.Endpoint{}, p.err
	}
	// It is read for all who wait: also when the one who came first leaves.
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.WithoutCancel(ctx), p.client), askTime)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, p.cfg.Issuer)
	if err == nil {
		err = checkEndpoints(provider.Endpoint())
	}
	switch {
	case err == nil:
		p.endpoint, p.read = provider.Endpoint(), time.Now()
	case p.read.IsZero():
		p.failed, p.err = time.Now(), err
		return oauth2.Endpoint{}, err
	default:
		p.read = time.Now().Add(again - known)
	}
	return p.endpoint, nil
}

// checkEndpoints refuses endpoints to which a browser or a secret must not be sent.
func checkEndpoints(e oauth2.Endpoint) error {
	for _, text := range []string{e.AuthURL, e.TokenURL} {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || !safe(u) {
			return fmt.Errorf("the provider's endpoint %q is not an https URL", text)
		}
	}
	return nil
}

// body reads a JSON body. One that a page of another site sent is refused.
func body(w http.ResponseWriter, r *http.Request, to any) error {
	if err := (&http.CrossOriginProtection{}).Check(r); err != nil {
		return frame.NewProblem(code.Forbidden, "pages of other sites may not log in")
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(to)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return frame.NewProblem(code.PayloadTooLarge, fmt.Sprintf("more than %d bytes", maxBody))
	case err != nil:
		return frame.NewProblem(code.InvalidFrame, "the body is not the JSON object that is expected")
	}
	return nil
}
