package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// GrantRequest says what a grant opens, and for how long: some jobs, the jobs of some types, or with both those jobs
// that are also of one of the types.
type GrantRequest struct {
	Jobs  []string // up to 100 job IDs
	Types []string // up to 100 job types
	// Permissions are what the holder may do with these jobs, such as "read" and "cancel": of the permissions that the
	// grant's maker has. Without any it is "read".
	Permissions []string
	TTL         time.Duration // a second to a day
}

// Grant is a token that opens what its GrantRequest says. It is used like any other token: a page that has it can
// follow its job, and do nothing else.
type Grant struct {
	Token   string    // a secret
	Expires time.Time // when it stops to open anything
}

// GrantKey makes grants without asking a server, in a backend that shares a key with the gateways.
//
//	key := ackwire.GrantKey{Secret: secret} // of --grant-key-file
//	grant, err := key.Grant("acme", "alice", ackwire.GrantRequest{Jobs: []string{job.ID}, TTL: 10 * time.Minute})
//
// A backend in another language makes the same with any library for JWTs, by the claims in docs/grants.md.
type GrantKey struct {
	// Secret is the first line of the gateways' grant-key-file, without its line end, or all bytes of a file that is
	// not text; at least 32 bytes.
	Secret []byte
	// Audience is the gateways' jwt-audience. The default is theirs, "ackwire". A grant of one deployment does not
	// open another one that has another audience, even if both have the same key.
	Audience string
}

// Grant makes a grant, whose holder acts as a user (subject) of a tenant. So it opens jobs that this user has
// submitted, or with a permission such as "read:tenant" those of other users, too. Nothing checks that the jobs exist:
// a grant may be made before its job.
func (k GrantKey) Grant(tenant, subject string, r GrantRequest) (Grant, error) {
	if subject == "" {
		return Grant{}, errors.New("ackwire: make a grant: the subject is missing")
	}
	permissions := r.Permissions
	if len(permissions) == 0 {
		permissions = []string{"read"}
	}
	claims, err := grant.New(tenant, subject, grant.Scope{Jobs: r.Jobs, Types: r.Types}, permissions, time.Now(), r.TTL)
	if err != nil {
		return Grant{}, fmt.Errorf("ackwire: make a grant: %w", err)
	}
	if k.Audience != "" {
		claims.Audience = k.Audience
	}
	token, err := claims.Sign(k.Secret)
	if err != nil {
		return Grant{}, fmt.Errorf("ackwire: make a grant: %w", err)
	}
	return Grant{Token: token, Expires: time.Unix(claims.Expires, 0)}, nil
}

// grant makes a grant by POST /v1/grants.
func (r *rest) grant(ctx context.Context, asked GrantRequest) (Grant, error) {
	const what = "make a grant"
	body, err := plainjson.Marshal(frame.GrantRequest{
		Jobs: asked.Jobs, Types: asked.Types,
		GrantOptions: frame.GrantOptions{TTL: asked.TTL.Seconds(), Permissions: asked.Permissions},
	})
	if err != nil {
		return Grant{}, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	resp, err := r.do(ctx, request{what: what, method: http.MethodPost, path: "/v1/grants", body: body})
	if err != nil {
		return Grant{}, err
	}
	if resp.StatusCode != http.StatusCreated {
		return Grant{}, refusal(resp)
	}
	answer, err := readBody(resp, r.cfg.readLimit)
	if err != nil {
		return Grant{}, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	g, err := readGrant(answer)
	if err != nil || g.Token == "" {
		return Grant{}, fmt.Errorf("ackwire: %s: %w", what, errBadAnswer)
	}
	return g, nil
}

// readGrant reads a grant from an answer; no bytes are no grant.
func readGrant(raw []byte) (Grant, error) {
	if len(raw) == 0 {
		return Grant{}, nil
	}
	var g frame.Grant
	err := json.Unmarshal(raw, &g)
	return grantOf(&g), err
}

func grantOf(g *frame.Grant) Grant {
	if g == nil {
		return Grant{}
	}
	return Grant{Token: g.Token, Expires: g.ExpiresAt}
}
