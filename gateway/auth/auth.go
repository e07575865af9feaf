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

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
)

const (
	// Issuer is the issuer of tokens, and their audience, unless the configuration names
	// others.
	Issuer = "ackwire"
	// Leeway is how far the clocks of the issuer and the gateway may differ.
	Leeway = 30 * time.Second
	// MinKeyBytes is the shortest key for HS256 (RFC 7518 §3.2).
	MinKeyBytes = 32

	maxTokenBytes = grant.MaxBytes
	maxNameChars  = 128
)

// Identity is who a client is and what it may do.
type Identity struct {
	Tenant      string
	Subject     string
	Permissions Permissions
	// Grant restricts the identity to some jobs; nil restricts nothing.
	Grant *Grant
	// TokenID is the token's claim jti, by which its issuer knows it; empty if it has none.
	TokenID string
	// Expires is when the token expires; zero for an anonymous client.
	Expires time.Time
}

// Anonymous reports whether the identity comes without a token.
func (i Identity) Anonymous() bool { return i.Expires.IsZero() }

// maxWarning is the longest time before a token's expiry at which its client is warned. A client that renews its token
// after four fifths of its lifetime gets no warning.
const maxWarning = time.Minute

// UntilOver returns how long the identity's sessions may stay open: until Leeway after the token's expiry.
func (i Identity) UntilOver() time.Duration { return time.Until(i.Expires.Add(Leeway)) }

// UntilWarning returns how long to wait before the client is warned that its token expires: until a tenth of the
// remaining time is left, but at most maxWarning.
func (i Identity) UntilWarning() time.Duration {
	left := max(0, time.Until(i.Expires))
	return left - min(left/10, maxWarning)
}

// May reports whether the identity has a permission.
func (i Identity) May(p Permissions) bool { return i.Permissions.Has(p) }

// MayOrder reports whether the identity may give an order, which needs a permission unless it may operate.
func (i Identity) MayOrder(p Permissions) bool { return i.May(p) || i.May(Operate) }

// ErrUnauthenticated is returned for a token that is missing or refused.
var ErrUnauthenticated = errors.New("not authenticated")

// ErrProxied is returned for a request without a token that came through a proxy. It matches ErrUnauthenticated.
var ErrProxied = fmt.Errorf("%w: a request through a proxy needs a token", ErrUnauthenticated)

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	cfg         Config
	key         []byte  // for tokens without a key ID; empty if there is none
	file        keySet  // of jwks-file
	remote      *remote // nil if no provider is configured
	grants      grants
	permissions Permissions
	mapped      map[string]Permissions
	parser      *jwt.Parser
}

// New returns a verifier for a valid configuration, and reads the configuration's files. client fetches the identity
// provider's keys; report is called when that fails.
func New(cfg Config, env certs.Env, client *http.Client, report func(error)) (*Verifier, error) {
	key, err := cfg.key()
	if err != nil {
		return nil, err
	}
	file, err := cfg.fileKeys()
	if err != nil {
		return nil, err
	}
	v := &Verifier{cfg: cfg, key: key, file: file, mapped: map[string]Permissions{}}
	if v.grants, err = newGrants(cfg, env); err != nil {
		return nil, err
	}
	if v.grants.includes(key) {
		return nil, errors.New("grant-key-file and jwt-key-file have the same key: who may make grants could make tokens")
	}
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

// Run keeps the identity provider's keys up to date until ctx ends.
func (v *Verifier) Run(ctx context.Context) error {
	if v.remote == nil {
		<-ctx.Done()
		return nil
	}
	v.remote.run(ctx)
	return nil
}

// Ready returns why no token can be verified, or nil.
func (v *Verifier) Ready() error {
	if v.remote != nil && v.key == nil && v.file == nil {
		return v.remote.ready()
	}
	return nil
}

// keyOf returns the key that a token's header names, and refuses every algorithm but the one to which the key is
// pinned. Other members of the header (jku, jwk, x5u, x5c) are ignored.
func (v *Verifier) keyOf(t *jwt.Token) (any, error) {
	kid, named := t.Header["kid"].(string)
	if _, there := t.Header["kid"]; there && !named {
		return nil, errors.New("kid is not a string")
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

// Verify checks a token and returns its identity. Errors match ErrUnauthenticated.
func (v *Verifier) Verify(token string) (Identity, error) {
	// Go's base64 decoder ignores line ends, even in its strict mode.
	if len(token) > maxTokenBytes || strings.ContainsAny(token, "\r\n") {
		return Identity{}, ErrUnauthenticated
	}
	if isGrant(token) {
		id, err := v.grants.verify(token)
		if err != nil {
			return Identity{}, fmt.Errorf("%w: %w", ErrUnauthenticated, err)
		}
		return id, nil
	}
	if !v.cfg.HasKeys() {
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
			err = errors.Join(err, fmt.Errorf("claim %s is missing, not a string, or longer than %d bytes", path, maxNameChars))
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
	if id.Grant, err = grantOf(c); err != nil {
		return Identity{}, err
	}
	expires, err := c.GetExpirationTime()
	if err != nil {
		return Identity{}, err
	}
	if y := expires.UTC().Year(); y < 1970 || y > 9999 {
		return Identity{}, errors.New("claim exp is out of range") // RFC 3339 cannot express it
	}
	if jti, ok := c["jti"].(string); ok && len(jti) <= maxNameChars {
		id.TokenID = jti
	}
	id.Expires, id.Permissions = expires.Time, v.permissionsOf(claim(c, v.cfg.PermissionsClaim))
	return id, nil
}

// permissionsOf reads the permissions from a claim that is a list, or a string of words like scope (RFC 8693 §4.2).
// Unknown words are ignored. Without the claim it returns the default permissions.
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

// claim returns the claim at a path such as "realm_access.roles", or nil. A claim whose own name has dots is found too.
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

// Anonymous returns the identity of a client without a token. ok is false if a token is required.
func (v *Verifier) Anonymous() (_ Identity, ok bool) {
	return Identity{Tenant: v.cfg.AnonymousTenant, Permissions: Everything}, v.cfg.AnonymousTenant != ""
}

// Token returns the token of a request: that of the Authorization header (RFC 6750) or, for browsers, which cannot set
// this header on a WebSocket, that of a subprotocol ackwire.bearer.TOKEN.
func Token(r *http.Request) (token string, ok bool) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, rest, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", true // another scheme: Verify refuses the empty token
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

// Identify returns the identity of a request. present reports whether it has a token, or a grant in its URL, which is
// then always verified. An error without a token means that one is required.
func (v *Verifier) Identify(r *http.Request) (_ Identity, present bool, err error) {
	token, ok := Token(r)
	if grant, inURL := URLGrant(r); inURL {
		id, err := v.verifyURL(grant, ok)
		return id, true, err
	}
	if ok {
		id, err := v.Verify(token)
		return id, true, err
	}
	id, ok := v.Anonymous()
	switch {
	case !ok:
		return Identity{}, false, ErrUnauthenticated
	case proxied(r):
		return Identity{}, false, ErrProxied
	}
	return id, false, nil
}

// proxyHeaders are the headers that proxies add to requests, in the form of http.Header's keys.
var proxyHeaders = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

// proxied reports whether a request came through a proxy. Such a request is never anonymous: it comes from this
// machine, where the proxy is, and its client may be anywhere.
func proxied(r *http.Request) bool {
	return slices.ContainsFunc(proxyHeaders, func(name string) bool {
		_, there := r.Header[name]
		return there
	})
}

// Sign makes a token that a verifier with the same key and the default claims accepts for ttl. Without permissions the
// token has no such claim.
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
