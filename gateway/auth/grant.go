package auth

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// grants makes and verifies grants. Its zero value does neither.
type grants struct {
	keys     *certs.Secrets // nil if there are none
	audience string
	parser   *jwt.Parser
}

const maxGrantKeys = 2 // the one before and the one after a change

var errNoGrants = errors.New("there is no key for grants")

func newGrants(cfg Config, env certs.Env) (grants, error) {
	if cfg.GrantKeyFile == "" {
		return grants{}, nil
	}
	keys, err := certs.OpenSecrets(env, "grant-key-file", cfg.GrantKeyFile, grant.MinKeyBytes, maxGrantKeys)
	if err != nil {
		return grants{}, err
	}
	return grants{keys: keys, audience: cfg.Audience, parser: jwt.NewParser(
		jwt.WithValidMethods([]string{grant.Algorithm}),
		jwt.WithIssuer(grant.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(Leeway),
		jwt.WithStrictDecoding(),
	)}, nil
}

// includes reports whether a key is a key for grants.
func (g grants) includes(key []byte) bool {
	return g.keys != nil && slices.ContainsFunc(g.keys.Get(), func(k []byte) bool { return bytes.Equal(k, key) })
}

// isGrant reports whether a token's header says that it is a grant.
func isGrant(token string) bool {
	first, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil || !bytes.Contains(b, []byte(grant.Type)) { // as with most tokens
		return false
	}
	var header struct {
		Type string `json:"typ"`
	}
	return json.Unmarshal(b, &header) == nil && header.Type == grant.Type
}

// grantClaims are the claims of a grant, as JWT libraries write them: aud may be a list.
type grantClaims struct {
	jwt.RegisteredClaims
	Tenant      string          `json:"tenant"`
	Permissions []string        `json:"permissions"`
	Scope       json.RawMessage `json:"ackwire_grant"`
}

// verify checks a grant and returns its identity.
func (g grants) verify(token string) (Identity, error) {
	if g.keys == nil {
		return Identity{}, errNoGrants
	}
	var all jwt.VerificationKeySet
	for _, key := range g.keys.Get() {
		all.Keys = append(all.Keys, key)
	}
	var c grantClaims
	if _, err := g.parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return all, nil }); err != nil {
		return Identity{}, err
	}
	if c.IssuedAt == nil {
		return Identity{}, errors.New("claim iat is missing")
	}
	scope, err := scopeOf(c.Scope)
	if err != nil {
		return Identity{}, err
	}
	claims := grant.Claims{
		Issuer: c.Issuer, Audience: g.audience, Tenant: c.Tenant, Subject: c.Subject, ID: c.ID,
		IssuedAt: c.IssuedAt.Unix(), Expires: c.ExpiresAt.Unix(), Permissions: c.Permissions, Scope: scope,
	}
	if err := claims.Check(); err != nil {
		return Identity{}, err
	}
	id := Identity{
		Tenant: c.Tenant, Subject: c.Subject, TokenID: c.ID, Expires: c.ExpiresAt.Time,
		Grant: &Grant{Jobs: scope.Jobs, Types: scope.Types},
	}
	for _, word := range c.Permissions {
		id.Permissions |= permissionNames[word] // none for a word that is not known
	}
	return id, nil
}

// grantOf returns what the claim of grants restricts a token of another issuer to; nil if the token does not have it.
func grantOf(c jwt.MapClaims) (*Grant, error) {
	claim, ok := c[grant.ScopeClaim]
	if !ok {
		return nil, nil
	}
	b, err := plainjson.Marshal(claim)
	if err != nil {
		return nil, err
	}
	scope, err := scopeOf(b)
	if err != nil {
		return nil, err
	}
	return &Grant{Jobs: scope.Jobs, Types: scope.Types}, nil
}

// scopeOf reads the claim of grants. It refuses unknown members: they may restrict a grant in a way that is not known
// here.
func scopeOf(claim []byte) (s grant.Scope, err error) {
	decoder := json.NewDecoder(bytes.NewReader(claim))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, fmt.Errorf("claim %s: %w", grant.ScopeClaim, err)
	}
	if s, err = s.Canonical(); err != nil {
		return s, fmt.Errorf("claim %s: %w", grant.ScopeClaim, err)
	}
	return s, nil
}

// CheckGrant returns why an identity may not make a grant, as a frame.Problem, or nil.
func (v *Verifier) CheckGrant(id Identity, r frame.GrantRequest) error {
	_, err := v.grantClaims(id, r, time.Now())
	return err
}

// NewGrant makes a grant for an identity, of what it may do itself: not with other permissions, and by the holder of a
// grant not for other jobs and not for longer. Errors are frame.Problems.
func (v *Verifier) NewGrant(id Identity, r frame.GrantRequest) (frame.Grant, grant.Claims, error) {
	claims, err := v.grantClaims(id, r, time.Now())
	if err != nil {
		return frame.Grant{}, claims, err
	}
	token, err := claims.Sign(v.grants.keys.Get()[0])
	if err != nil {
		return frame.Grant{}, claims, frame.NewProblem(code.InvalidFrame, err.Error())
	}
	return frame.Grant{Token: token, ExpiresAt: time.Unix(claims.Expires, 0).UTC()}, claims, nil
}

func (v *Verifier) grantClaims(id Identity, r frame.GrantRequest, now time.Time) (grant.Claims, error) {
	forbidden := func(detail string) (grant.Claims, error) {
		return grant.Claims{}, frame.NewProblem(code.Forbidden, detail)
	}
	if v.grants.keys == nil {
		return forbidden("no grants are made here: grant-key-file is not set")
	}
	ttl, err := grantTTL(r.TTL)
	if err != nil {
		return grant.Claims{}, err
	}
	words := r.Permissions
	if len(words) == 0 {
		words = []string{"read"}
	}
	for _, word := range words {
		permission, known := permissionNames[word]
		switch {
		case !known:
			return grant.Claims{}, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("%.64q is not a permission", word))
		case !id.May(permission):
			return forbidden(fmt.Sprintf("the token does not permit %s, so a grant of its holder cannot, either", word))
		}
	}
	of := grant.Scope{Jobs: r.Jobs, Types: r.Types}
	if id.Grant != nil {
		if of, err = id.Grant.narrowed(of); err != nil {
			return grant.Claims{}, err
		}
		if ttl = min(ttl, id.Expires.Sub(now)); ttl < time.Second {
			return forbidden("the grant of the grant's maker has ended")
		}
	}
	claims, err := grant.New(id.Tenant, id.Subject, of, words, now, ttl)
	if err != nil {
		return claims, frame.NewProblem(code.InvalidFrame, err.Error())
	}
	claims.Audience = v.grants.audience
	return claims, nil
}

// narrowed returns the scope of a grant that the holder of g asks for; where it names no jobs or no types it is g's.
func (g *Grant) narrowed(asked grant.Scope) (grant.Scope, error) {
	of, err := asked.Canonical()
	if err != nil {
		return of, frame.NewProblem(code.InvalidFrame, err.Error())
	}
	outside := func(names, own []string) bool {
		return len(own) > 0 && slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(own, n) })
	}
	if outside(of.Jobs, g.Jobs) || outside(of.Types, g.Types) {
		return of, frame.NewProblem(code.Forbidden, "the grant of the grant's maker does not open these jobs")
	}
	if len(of.Jobs) == 0 {
		of.Jobs = g.Jobs
	}
	if len(of.Types) == 0 {
		of.Types = g.Types
	}
	return of, nil
}

func grantTTL(seconds float64) (time.Duration, error) {
	if !(seconds >= 1 && seconds <= grant.MaxTTL.Seconds()) {
		return 0, frame.NewProblem(code.InvalidFrame,
			fmt.Sprintf("ttl must be 1 to %d seconds", int(grant.MaxTTL.Seconds())))
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// Errors of grants in URLs. They do not match ErrUnauthenticated.
var (
	ErrNotInURL  = errors.New("a token that may not stand in a URL")
	ErrTwoTokens = errors.New("a token and a grant in the URL")
)

// verifyURL checks a grant that stands in a request's URL. and says whether the request has a token besides.
func (v *Verifier) verifyURL(token string, and bool) (Identity, error) {
	if and {
		return Identity{}, ErrTwoTokens
	}
	id, err := v.Verify(token)
	if err == nil && !id.InURL() {
		return Identity{}, ErrNotInURL
	}
	return id, err
}

// Account returns the name by which the identity's use of a gateway is counted and bounded. It is the subject. Grants
// that are limited to jobs have one of their own for each set of jobs: behind them are many people, whose backend has
// submitted all jobs as one subject.
func (i Identity) Account() string {
	if i.Grant == nil || len(i.Grant.Jobs) == 0 {
		return i.Subject
	}
	sum := sha256.Sum256([]byte(strings.Join(i.Grant.Jobs, " ")))
	return i.Subject + "\x00" + string(sum[:])
}

// GrantParam is the parameter of a URL that may hold a grant.
const GrantParam = "grant"

// readOnly are the permissions of a grant in a URL.
const readOnly = Read | ReadTenant | Payloads

// InURL reports whether a grant with this identity may stand in a URL, which more people get to see than a header:
// only if all that it does is to read some jobs.
func (i Identity) InURL() bool {
	return i.Grant != nil && len(i.Grant.Jobs) > 0 && i.Permissions&^readOnly == 0
}

// URLGrant returns the grant in a request's URL. ok reports whether the URL has the parameter; one that is there
// several times is refused like one that cannot be read.
func URLGrant(r *http.Request) (token string, ok bool) {
	// Queries are parsed only if they may have the parameter: some name a thousand jobs.
	if !strings.Contains(r.URL.RawQuery, GrantParam) && !strings.Contains(r.URL.RawQuery, "%") {
		return "", false
	}
	switch values := r.URL.Query()[GrantParam]; len(values) {
	case 0:
		return "", false
	case 1:
		return values[0], true
	}
	return "", true
}
