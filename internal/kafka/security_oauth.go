package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/ackwire/ackwire/internal/service"
)

const (
	tokenTimeout = 5 * time.Second // of one request to the token endpoint
	// tokenLife is how long a token is used whose life the endpoint does not tell.
	tokenLife = time.Minute
)

// endpointToken returns a function that fetches a token from the token endpoint.
func (st *standing) endpointToken(env service.Env) func(context.Context) (token, error) {
	s := st.security
	return func(ctx context.Context) (token, error) {
		ctx, cancel := context.WithTimeout(ctx, tokenTimeout)
		defer cancel()
		transport := &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: env.Dial, DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots(st.files.oauthCA)},
		}
		cfg := clientcredentials.Config{
			ClientID: s.OAuthClientID, ClientSecret: only(st.files.oauthSecret),
			TokenURL: s.OAuthTokenURL, Scopes: s.OAuthScopes,
		}
		if s.OAuthAudience != "" {
			cfg.EndpointParams = url.Values{"audience": {s.OAuthAudience}}
		}
		began := time.Now()
		got, err := cfg.Token(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
			Transport: transport,
			// A redirect would carry the secret to another address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}))
		if err != nil {
			return token{}, s.explainEndpoint(err)
		}
		life := tokenLife
		if !got.Expiry.IsZero() {
			life = got.Expiry.Sub(began)
		}
		return token{value: got.AccessToken, renewAt: began.Add(life * 4 / 5)}, nil
	}
}

// explainEndpoint returns why a token endpoint gave no token. The answer's body is left out, for nothing says that it
// has no secrets.
func (s Security) explainEndpoint(err error) error {
	where := service.Redact(s.OAuthTokenURL)
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return fmt.Errorf("token endpoint %s (kafka-oauth-token-url): %w", where, err)
	}
	answer := refused.ErrorCode
	if answer == "" && refused.Response != nil {
		answer = refused.Response.Status
	}
	if refused.ErrorDescription != "" {
		answer += ": " + refused.ErrorDescription
	}
	return fmt.Errorf("token endpoint %s refused client %s: %s; check kafka-oauth-client-id and "+
		"kafka-oauth-client-secret-file", where, s.OAuthClientID, answer)
}
