// Package auth tells who a client is: tokens are JWTs (RFC 7519), strictly checked against keys
// that are each good for one algorithm.
package auth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/schemas/frame"
)

const (
	// Issuer is the issuer of tokens, and their audience, unless the configuration names
	// others.
	Issuer = "ackwire"
	// Leeway is how far clocks may be apart.
	Leeway = 30 * time.Second
	// MinKeyBytes is the shortest key for HS256 (RFC 7518 §3.2).
	MinKeyBytes = 32

	maxTokenBytes = 8 << 10
	maxNameChars  = 128
)

// Identity is who a client is and what it may do.
type Identity struct {
	Tenant      string
	Subject     string
	Permissions Permissions
	// Expires is when the token ends; zero for an anonymous client.
	Expires time.Time
}

// Anonymous reports whether the identity comes without a token.
func (i Identity) Anonymous() bool { return i.Expires.IsZero() }

// maxWarning is how long before its end a token's holder is warned, at the most. One that
// renews by itself at four fifths of a token's life is never warned.
const maxWarning = time.Minute

// UntilOver is how long what the identity has opened stays open: past the token's end by the
// leeway.
func (i Identity) UntilOver() time.Duration { return time.Until(i.Expires.Add(Leeway)) }

// UntilWarning is how long it is until its holder is to be warned of the token's end, which is
// told in time to be of use: a tenth of what is left before it, and the leeway after it.
func (i Identity) UntilWarning() time.Duration {
	left := max(0, time.Until(i.Expires))
	return left - min(left/10, maxWarning)
}

// May reports whether the identity has a permission.
func (i Identity) May(p Permissions) bool { return i.Permissions.Has(p) }

// ErrUnauthenticated is returned for a token that is missing or refused.
var ErrUnauthenticated = errors.New("not authenticated")

// Verifier checks tokens. It may be used from any goroutine.
type Verifier struct {
	cfg         Config
	key         []byte // of tokens without a key ID; empty: there are none
	file        keySet
	remote      *remote // nil: no provider is configured
	permissions Permissions
	mapped      map[string]Permissions
	parser      *jwt.Parser
}

// New returns a verifier of a valid configuration, which reads its files. client reaches
// the identity provider; report is told when that fails.
func New(cfg Config, client *http.Client, report func(error)) (*Verifier, error) {
	key, err := cfg.key()
	if err != nil {
		return nil, err
	}
	file, err := cfg.fileKeys()
	if err != nil {
		return nil, err
	}
	v := &Verifier{cfg: cfg, key: key, file: file, mapped: map[string]Permissions{}}
	if cfg.JWKSURL != "" {
		v.remote = newRemote(cfg.JWKSURL, client, report)
	}
	if v.permissions, err = ParsePermissions(cfg.Permissions); err != nil {
		return nil, err
	}
	for word, permissions := range cfg.PermissionMap {
		if v.mapped[word], err = ParsePermissions(permissions); err != nil {
			return nil, err
		}
	}
	v.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{
			"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
			"ES256", "ES384", "ES512", "EdDSA"}),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(Leeway),
		jwt.WithStrictDecoding(),
	)
	return v, nil
}

// Run keeps the keys of an identity provider fresh until ctx ends.
func (v *Verifier) Run(ctx context.Context) error {
	if v.remote == nil {
		<-ctx.Done()
		return nil
	}
	v.remote.run(ctx)
	return nil
}

// Ready says why no token can be verified.
func (v *Verifier) Ready() error {
	if v.remote != nil && v.key == nil && v.file == nil {
		return v.remote.ready()
	}
	return nil
}

// keyOf finds the key that a token's header names, and refuses any algorithm but the key's
// own. Other members of the header (jku, jwk, x5u, x5c) mean nothing here.
func (v *Verifier) keyOf(t *jwt.Token) (any, error) {
	kid, named := t.Header["kid"].(string)
	if _, there := t.Header["kid"]; there && !named {
		return nil, errors.New("kid is no string")
	}
	k, ok := v.file[kid]
	if !ok && named && v.remote != nil {
		k, ok = v.remote.find(kid)
	}
	switch {
	case ok:
	case v.file == nil && v.remote == nil || !named:
		// The one key of jwt-key-file has no ID.
		k = pinned{jwt.SigningMethodHS256.Alg(), v.key}
		ok = len(v.key) > 0
	}
	switch {
	case !ok && named:
		return nil, fmt.Errorf("no key has the ID %.64q", kid)
	case !ok:
		return nil, errors.New("the token names no key")
	case t.Method.Alg() != k.alg:
		return nil, fmt.Errorf("its key is for %s, not %s", k.alg, t.Method.Alg())
	}
	return k.key, nil
}

// Verify returns the identity that a token proves.
func (v *Verifier) Verify(token string) (Identity, error) {
	// Go's base64 decoder passes over line ends, even when it is strict.
	if !v.cfg.HasKeys() || len(token) > maxTokenBytes || strings.ContainsAny(token, "\r\n") {
		return Identity{}, ErrUnauthenticated
	}
	c := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, c, v.keyOf); err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	id, err := v.identity(c)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
	}
	return id, nil
}

func (v *Verifier) identity(c jwt.MapClaims) (id Identity, err error) {
	name := func(path string) string {
		s, _ := claim(c, path).(string)
		if s == "" || len(s) > maxNameChars {
			err = errors.Join(err, fmt.Errorf("claim %s is missing, no string, or longer than %d bytes", path, maxNameChars))
		}
		return s
	}
	id.Tenant, id.Subject = name(v.cfg.TenantClaim), name(v.cfg.SubjectClaim)
	if sub, subErr := c.GetSubject(); subErr != nil || sub == "" {
		err = errors.Join(err, errors.New("claim sub is missing"))
	}
	if err != nil {
		return Identity{}, err
	}
	expires, err := c.GetExpirationTime()
	if err != nil {
		return Identity{}, err
	}
	if y := expires.UTC().Year(); y < 1970 || y > 9999 {
		return Identity{}, errors.New("claim exp is out of range") // RFC 3339 could not say it
	}
	id.Expires, id.Permissions = expires.Time, v.permissionsOf(claim(c, v.cfg.PermissionsClaim))
	return id, nil
}

// permissionsOf reads a claim that is a list or words in a string (as scope is, RFC 8693
// §4.2); words that mean nothing here are passed over.
func (v *Verifier) permissionsOf(claim any) (p Permissions) {
	var words []string
	switch c := claim.(type) {
	case nil:
		return v.permissions
	case string:
		words = strings.Fields(c)
	case []any:
		for _, word := range c {
			if s, ok := word.(string); ok {
				words = append(words, s)
			}
		}
	}
	for _, word := range words {
		if mapped, ok := v.mapped[word]; ok {
			p |= mapped
		} else {
			p |= permissionNames[word]
		}
	}
	return p
}

// claim reaches into the claims: "realm_access.roles". A claim whose name has dots of its
// own is found too.
func claim(c map[string]any, path string) any {
	if v, ok := c[path]; ok || path == "" {
		return v
	}
	first, rest, nested := strings.Cut(path, ".")
	inner, ok := c[first].(map[string]any)
	if !nested || !ok {
		return nil
	}
	return claim(inner, rest)
}

// Anonymous returns the identity of a client without a token; ok is false where one is
// demanded.
func (v *Verifier) Anonymous() (_ Identity, ok bool) {
	return Identity{Tenant: v.cfg.AnonymousTenant, Permissions: Client | Admin}, v.cfg.AnonymousTenant != ""
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

// Sign makes a token that a verifier with the same key and the usual claims accepts for ttl.
// Without permissions it says nothing of them.
func Sign(key []byte, tenant, subject string, now time.Time, ttl time.Duration, permissions ...string) (string, error) {
	switch {
	case len(key) < MinKeyBytes:
		return "", fmt.Errorf("key has %d bytes, HS256 needs %d", len(key), MinKeyBytes)
	case tenant == "" || len(tenant) > maxNameChars || subject == "" || len(subject) > maxNameChars:
		return "", fmt.Errorf("tenant and subject must be 1 to %d bytes", maxNameChars)
	case ttl <= 0:
		return "", errors.New("ttl must be positive")
	}
	c := jwt.MapClaims{
		"iss": Issuer, "aud": Issuer, "sub": subject, "tenant": tenant,
		"iat": jwt.NewNumericDate(now), "exp": jwt.NewNumericDate(now.Add(ttl)),
	}
	if len(permissions) > 0 {
		if _, err := ParsePermissions(strings.Join(permissions, " ")); err != nil {
			return "", err
		}
		c["permissions"] = slices.Clone(permissions)
	}
	return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(key)
}
