package kafka

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/aws"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/ackwire/ackwire/internal/service"
)

// mechanism returns the SASL mechanism with which a client authenticates each connection, by what the files of secrets
// have at that time; nil without SASL.
func (st *standing) mechanism(env service.Env) (sasl.Mechanism, error) {
	s, password := st.security, st.files.password
	var m sasl.Mechanism
	switch s.SASL {
	case "":
		return nil, nil
	case saslPlain:
		m = plain.Plain(func(context.Context) (plain.Auth, error) {
			return plain.Auth{User: s.User, Pass: only(password)}, nil
		})
	case saslScram256, saslScram512:
		auth := func(context.Context) (scram.Auth, error) {
			return scram.Auth{User: s.User, Pass: only(password)}, nil
		}
		if m = scram.Sha256(auth); s.SASL == saslScram512 {
			m = scram.Sha512(auth)
		}
	case saslOAuth:
		extensions, err := s.extensions()
		if err != nil {
			return nil, err
		}
		token := st.tokens(env)
		st.refused = token.drop
		m = oauth.Oauth(func(ctx context.Context) (oauth.Auth, error) {
			t, err := token.get(ctx)
			return oauth.Auth{Token: t, Extensions: extensions}, err
		})
	case saslIAM:
		credentials, err := s.iamCredentials()
		if err != nil {
			return nil, err
		}
		m = aws.ManagedStreamingIAM(credentials)
	default:
		return nil, s.checkSASL()
	}
	return explained{m, st}, nil
}

// explained is a mechanism whose errors are problems, which the client retries.
type explained struct {
	sasl.Mechanism
	st *standing
}

// Authenticate implements sasl.Mechanism.
func (e explained) Authenticate(ctx context.Context, host string) (sasl.Session, []byte, error) {
	session, first, err := e.Mechanism.Authenticate(ctx, host)
	if err != nil {
		return nil, nil, e.st.note(reasonSASL, err)
	}
	return challenged{session, e.st, host}, first, nil
}

// challenged is a session of SASL whose errors are problems. With OAUTHBEARER a broker tells there what it has against
// a token (RFC 7628, 3.2.2).
type challenged struct {
	sasl.Session
	st      *standing
	address string
}

// Challenge implements sasl.Session.
func (c challenged) Challenge(said []byte) (done bool, answer []byte, err error) {
	if done, answer, err = c.Session.Challenge(said); err == nil {
		return done, answer, nil
	}
	if c.st.security.SASL == saslOAuth && len(said) > 0 {
		err = fmt.Errorf("%s: %w", said[:min(len(said), maxChallenge)], kerr.SaslAuthenticationFailed)
	}
	return false, nil, c.st.note(reasonSASL, c.st.unauthenticated(c.address, refused, err))
}

const maxChallenge = 500 // bytes of a broker's challenge that are shown

// tokens returns the source of tokens for oauthbearer.
func (st *standing) tokens(env service.Env) *tokens {
	t := &tokens{fetch: st.endpointToken(env)}
	if st.files.token != nil {
		t.fetch = st.fileToken
	}
	return t
}

// tokens keeps a token while it is valid.
type tokens struct {
	fetch func(context.Context) (token, error) // set at the start

	mu   sync.Mutex // guards last, and is held while a token is fetched
	last token
}

// token is an access token.
type token struct {
	value string
	// renewAt is when another one is to be fetched, well before this one ends; zero means at once.
	renewAt time.Time
}

// get returns the last token, or another one if it has to be renewed.
func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !time.Now().Before(t.last.renewAt) {
		got, err := t.fetch(ctx)
		if err != nil {
			return "", err
		}
		t.last = got
	}
	return t.last.value, nil
}

// drop forgets the last token, which a broker has refused.
func (t *tokens) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = token{}
}

// fileToken returns the token in the token file, or an error if it says itself that it has expired.
func (st *standing) fileToken(context.Context) (token, error) {
	value := only(st.files.token)
	if end, ok := expiry(value); ok && !time.Now().Before(end) {
		return token{}, fmt.Errorf("kafka-oauth-token-file: the token in %s expired at %s", st.security.OAuthTokenFile,
			end.UTC().Format(time.RFC3339))
	}
	return token{value: value}, nil
}

// expiry returns when a JWT expires; false for a token that does not say it.
func expiry(jwt string) (time.Time, bool) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(body, &claims) != nil || claims.Exp <= 0 || claims.Exp > 1e11 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}
