package ackwiretest

import (
	"crypto/rand"
	"net/http"
	"slices"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
)

const (
	grantParam  = "grant"
	grantPrefix = "grant-"
)

// grantLocked makes a grant for who, which opens the jobs of a scope that grantScope has returned. It does not outlive
// the grant of its maker.
func (s *Server) grantLocked(who identity, o frame.GrantOptions, of grant.Scope) *frame.Grant {
	words := o.Permissions
	if len(words) == 0 {
		words = []string{mayRead}
	}
	made := identity{scope: &of, expires: stamp(time.Now().Add(seconds(o.TTL)))}
	for _, word := range words {
		made.permissions = append(made.permissions, permissionWords[word]...)
	}
	made.permissions = slices.Compact(slices.Sorted(slices.Values(made.permissions)))
	if !who.expires.IsZero() && who.expires.Before(made.expires) {
		made.expires = who.expires
	}
	g := &frame.Grant{Token: grantPrefix + rand.Text(), ExpiresAt: made.expires}
	s.grants[g.Token] = made
	return g
}

// postGrant handles POST /v1/grants.
func (s *Server) postGrant(w http.ResponseWriter, r *http.Request) {
	var asked frame.GrantRequest
	if !readBody(w, r, maxBody, &asked) {
		return
	}
	who := whoOf(r)
	of, err := who.grantScope(asked.GrantOptions, grant.Scope{Jobs: asked.Jobs, Types: asked.Types})
	if err != nil {
		problem(w, err)
		return
	}
	s.mu.Lock()
	made := s.grantLocked(who, asked.GrantOptions, of)
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusCreated, made)
}
