package ackwiretest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
)

const (
	grantParam  = "grant"
	grantPrefix = "grant-"
)

// checkGrant returns why a grant is not made, or nil.
func checkGrant(o frame.GrantOptions, of grant.Scope) error {
	if !(o.TTL >= 1 && o.TTL <= grant.MaxTTL.Seconds()) {
		return frame.NewProblem(code.InvalidFrame, "ttl must be 1 to 86400 seconds")
	}
	if _, err := of.Canonical(); err != nil {
		return frame.NewProblem(code.InvalidFrame, err.Error())
	}
	return nil
}

// grantLocked makes a grant.
func (s *Server) grantLocked(o frame.GrantOptions) *frame.Grant {
	g := &frame.Grant{Token: grantPrefix + rand.Text(), ExpiresAt: stamp(time.Now().Add(seconds(o.TTL)))}
	s.grants[g.Token] = g.ExpiresAt
	return g
}

// grantedLocked reports whether a token is a grant that has not ended.
func (s *Server) grantedLocked(token string) bool {
	expires, ok := s.grants[token]
	return ok && time.Now().Before(expires)
}

// urlGrant returns the grant in the URL of a request that may have one.
func urlGrant(r *http.Request) string {
	if !strings.HasSuffix(r.URL.Path, "/events") && !strings.HasSuffix(r.URL.Path, "/result") {
		return ""
	}
	return r.URL.Query().Get(grantParam)
}

// postGrant handles POST /v1/grants.
func (s *Server) postGrant(w http.ResponseWriter, r *http.Request) {
	var asked frame.GrantRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&asked); err != nil {
		problem(w, frame.NewProblem(code.InvalidFrame, "the body cannot be read"))
		return
	}
	if err := checkGrant(asked.GrantOptions, grant.Scope{Jobs: asked.Jobs, Types: asked.Types}); err != nil {
		problem(w, err)
		return
	}
	s.mu.Lock()
	made := s.grantLocked(asked.GrantOptions)
	s.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	answer(w, http.StatusCreated, made)
}
