// Package grant makes and reads grants. A grant is a token that opens some jobs, or the jobs of some types, with some
// of its maker's permissions, for at most a day: a page can follow one job with it, and do nothing else.
//
// A grant is a JWT (RFC 7519) with typ Type, signed with HS256 by a key of the deployment. A backend that has the key
// makes grants without a request, in any language: Claims lists what they hold.
package grant

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const (
	// Type is the header typ of grants (RFC 7515 §4.1.9). A token without it is no grant, whichever key signed it.
	Type = "ackwire-grant"
	// Algorithm is the header alg of grants.
	Algorithm = "HS256"
	// Issuer is the claim iss of grants. No setting changes it.
	Issuer = "ackwire-grant"
	// Audience is the claim aud of grants, for a deployment that does not set another one.
	Audience = "ackwire"
	// ScopeClaim is the claim that holds the Scope. Tokens of an identity provider may have it, too.
	ScopeClaim = "ackwire_grant"
)

// Bounds of grants.
const (
	MaxTTL      = 24 * time.Hour // from iat to exp
	MaxJobs     = 100            // job IDs, or job types
	MinKeyBytes = 32             // RFC 7518 §3.2
	MaxBytes    = 8 << 10        // of a grant
	maxName     = 128            // bytes of a tenant, a subject and so on
	maxWords    = 32             // permissions
)

// Claims is the content of a grant. Every field must be there.
type Claims struct {
	Issuer   string `json:"iss"`    // Issuer
	Audience string `json:"aud"`    // the deployment: what its gateways have as jwt-audience
	Tenant   string `json:"tenant"` // the tenant of the jobs
	Subject  string `json:"sub"`    // the user whose jobs count as own
	ID       string `json:"jti"`    // a random name, by which traces of the grant's use name it
	IssuedAt int64  `json:"iat"`    // Unix seconds
	Expires  int64  `json:"exp"`    // Unix seconds, at most MaxTTL after IssuedAt
	// Permissions are the words that a token's permissions have, such as read.
	Permissions []string `json:"permissions"`
	Scope       Scope    `json:"ackwire_grant"` // the jobs that the grant opens
}

// Scope limits a grant to jobs with one of the IDs, to those of one of the types, or with both to those that fit both.
// There must be one of them, and at most MaxJobs of each.
type Scope struct {
	Jobs  []string `json:"jobs,omitempty"`  // job IDs
	Types []string `json:"types,omitempty"` // names of job types
}

// New returns the claims of a new grant, with a random ID and the default audience. Job IDs are written in their
// canonical form, each once.
func New(tenant, subject string, of Scope, permissions []string, now time.Time, ttl time.Duration) (Claims, error) {
	if ttl < time.Second || ttl > MaxTTL {
		return Claims{}, fmt.Errorf("a grant is valid for 1 second to %d hours", int(MaxTTL.Hours()))
	}
	of, err := of.Canonical()
	if err != nil {
		return Claims{}, err
	}
	c := Claims{
		Issuer: Issuer, Audience: Audience, Tenant: tenant, Subject: subject, ID: rand.Text(),
		IssuedAt: now.Unix(), Expires: now.Add(ttl).Unix(), Permissions: permissions, Scope: of,
	}
	return c, c.Check()
}

// Check returns why claims make no grant, or nil. It does not compare them with the clock.
func (c Claims) Check() error {
	switch lifetime := c.Expires - c.IssuedAt; {
	case c.Issuer != Issuer:
		return fmt.Errorf("the issuer of a grant is %s", Issuer)
	case !isName(c.Audience) || !isName(c.Tenant) || !isName(c.ID) || c.Subject != "" && !isName(c.Subject):
		return fmt.Errorf("audience, tenant and ID are each 1 to %d bytes, the subject at most as many", maxName)
	case c.IssuedAt <= 0 || lifetime <= 0 || lifetime > int64(MaxTTL/time.Second):
		return fmt.Errorf("a grant is valid for at most %d hours from its iat on", int(MaxTTL.Hours()))
	case len(c.Permissions) == 0 || len(c.Permissions) > maxWords:
		return fmt.Errorf("a grant has 1 to %d permissions", maxWords)
	}
	for _, word := range c.Permissions {
		if !isName(word) {
			return fmt.Errorf("%.64q is not a permission", word)
		}
	}
	_, err := c.Scope.Canonical()
	return err
}

// Canonical returns the scope with each job ID in its canonical form, and sorted and without repetitions, or says what
// is wrong.
func (s Scope) Canonical() (Scope, error) {
	if len(s.Jobs) == 0 && len(s.Types) == 0 {
		return Scope{}, errors.New("a grant is limited to some jobs or to some job types")
	}
	if max(len(s.Jobs), len(s.Types)) > MaxJobs {
		return Scope{}, fmt.Errorf("a grant names at most %d jobs or job types", MaxJobs)
	}
	out := Scope{Types: sorted(s.Types)}
	for _, name := range s.Jobs {
		id, ok := job.ParseID(name)
		if !ok {
			return Scope{}, fmt.Errorf("%.64q is not a job ID", name)
		}
		out.Jobs = append(out.Jobs, id)
	}
	out.Jobs = sorted(out.Jobs)
	for _, name := range s.Types {
		if !isName(name) {
			return Scope{}, fmt.Errorf("%.64q is not a job type", name)
		}
	}
	return out, nil
}

// sorted returns a list sorted and without repetitions; nil for an empty one.
func sorted(all []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// isName reports whether a string can be the name of a tenant, a user and so on.
func isName(s string) bool { return s != "" && len(s) <= maxName && utf8.ValidString(s) }

// header is the header of every grant.
var header = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + Algorithm + `","typ":"` + Type + `"}`))

// Sign returns the grant of claims, signed by a key of at least MinKeyBytes.
func (c Claims) Sign(key []byte) (string, error) {
	if len(key) < MinKeyBytes {
		return "", fmt.Errorf("the key has %d bytes, %s needs %d", len(key), Algorithm, MinKeyBytes)
	}
	if err := c.Check(); err != nil {
		return "", err
	}
	body, err := plainjson.Marshal(c)
	if err != nil {
		return "", err
	}
	signed := header + "." + base64.RawURLEncoding.EncodeToString(body)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	token := signed + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	if len(token) > MaxBytes {
		return "", fmt.Errorf("the grant would have %d bytes, at most %d are allowed", len(token), MaxBytes)
	}
	return token, nil
}
