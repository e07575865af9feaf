// Package auth tells who a client is: tokens are JWTs (RFC 7519), HS256 with a configured
// key, and strictly checked.
package auth

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/schemas/frame"
)

// Issuer and Audience are demanded of every token.
const (
	Issuer   = "ackwire"
	Audience = "ackwire"

	// Leeway is how far clocks may be apart.
	Leeway = 30 * time.Second
	// MinKeyBytes is the shortest key for HS256 (RFC 7518 §3.2).
	MinKeyBytes = 32

	maxTokenBytes = 8 << 10
	maxNameChars  = 128
)

// Identity is who a client is.
type Identity struct {
	Tenant  string
	Subject string
	// Expires is when the token ends; zero for an anonymous client.
	Expires time.Time
}

// Anonymous reports whether the identity comes without a token.
func (i Identity) Anonymous() bool { return i.Expires.IsZero() }

// ErrUnauthenticated is returned for a token that is missing or refused.
var ErrUnauthenticated = errors.New("not authenticated")

// Verifier checks tokens. It may be used from any goroutine.
type Verifier struct {
	key       []byte // empty: no token is accepted
	anonymous string // tenant of clients without a token; "" refuses them
	parser    *jwt.Parser
}

// NewVerifier returns a verifier. Without a key every token is refused.
func NewVerifier(key []byte, anonymousTenant string) *Verifier {
	return &Verifier{
		key:       key,
		anonymous: anonymousTenant,
		parser: jwt.NewParser(
			jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
			jwt.WithIssuer(Issuer),
			jwt.WithAudience(Audience),
			jwt.WithExpirationRequired(),
			jwt.WithIssuedAt(),
			jwt.WithLeeway(Leeway),
			jwt.WithStrictDecoding(),
		),
	}
}

type claims struct {
	jwt.RegisteredClaims
	Tenant string `json:"tenant"`
}

// Verify returns the identity that a token proves.
func (v *Verifier) Verify(token string) (Identity, error) {
	// Go's base64 decoder passes over line ends, even when it is strict.
	if len(v.key) == 0 || len(token) > maxTokenBytes || strings.ContainsAny(token, "\r\n") {
		return Identity{}, ErrUnauthenticated
	}
	var c claims
	if _, err := v.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return v.key, nil }); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	if c.Tenant == "" || len(c.Tenant) > maxNameChars || len(c.Subject) > maxNameChars {
		return Identity{}, fmt.Errorf("%w: claim tenant is missing, or it or sub is too long", ErrUnauthenticated)
	}
	return Identity{Tenant: c.Tenant, Subject: c.Subject, Expires: c.ExpiresAt.Time}, nil
}

// Anonymous returns the identity of a client without a token; ok is false where one is
// demanded.
func (v *Verifier) Anonymous() (_ Identity, ok bool) {
	return Identity{Tenant: v.anonymous}, v.anonymous != ""
}

// Token finds the token of a request: the Authorization header (RFC 6750) or, for
// browsers, which cannot set it on a socket, a subprotocol ackwire.bearer.TOKEN.
func Token(r *http.Request) (token string, ok bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, rest, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", true // present, and refused by Verify
		}
		return strings.TrimSpace(rest), true
	}
	for _, h := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(h, ",") {
			if t, found := strings.CutPrefix(strings.TrimSpace(p), frame.BearerProtocolPrefix); found {
				return t, true
			}
		}
	}
	return "", false
}

// Identify returns the identity of a request. A token that is present is always verified.
// ErrUnauthenticated with present false means that there is none where one is demanded.
func (v *Verifier) Identify(r *http.Request) (_ Identity, present bool, err error) {
	if token, ok := Token(r); ok {
		id, err := v.Verify(token)
		return id, true, err
	}
	if id, ok := v.Anonymous(); ok {
		return id, false, nil
	}
	return Identity{}, false, ErrUnauthenticated
}

// Sign makes a token that Verify accepts for ttl.
func Sign(key []byte, tenant, subject string, now time.Time, ttl time.Duration) (string, error) {
	switch {
	case len(key) < MinKeyBytes:
		return "", fmt.Errorf("key has %d bytes, HS256 needs %d", len(key), MinKeyBytes)
	case tenant == "" || len(tenant) > maxNameChars || len(subject) > maxNameChars:
		return "", fmt.Errorf("tenant must be 1 to %d bytes and subject at most that", maxNameChars)
	case ttl <= 0:
		return "", errors.New("ttl must be positive")
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: Issuer, Audience: jwt.ClaimStrings{Audience}, Subject: subject,
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(ttl)),
		},
		Tenant: tenant,
	}).SignedString(key)
}
