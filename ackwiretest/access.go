package ackwiretest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/grant"
)

// The permissions of tokens and grants.
const (
	maySubmit       = "submit"
	mayRead         = "read"
	mayCancel       = "cancel"
	mayReadTenant   = "read:tenant"
	mayCancelTenant = "cancel:tenant"
	mayOperate      = "operate"
	mayPayloads     = "payloads"
	mayErase        = "erase"
)

// permissionWords has the words that a grant may be asked for, with all that each permits.
var permissionWords = map[string][]string{
	maySubmit: {maySubmit}, mayRead: {mayRead}, mayCancel: {mayCancel}, mayPayloads: {mayPayloads}, mayErase: {mayErase},
	mayReadTenant: {mayReadTenant, mayRead}, mayCancelTenant: {mayCancelTenant, mayCancel},
	mayOperate: {mayOperate, mayReadTenant, mayRead, mayCancelTenant, mayCancel},
	"admin":    {maySubmit, mayRead, mayCancel, mayPayloads, mayReadTenant, mayCancelTenant},
}

// identity is who a client is and what it may do. All clients are one user, so that only grants tell jobs apart. An
// identity is not changed once it is made.
type identity struct {
	permissions []string
	scope       *grant.Scope // the jobs that a grant opens; nil for a token, and for none
	expires     time.Time    // when a grant ends; zero for a token, and for none
}

var (
	// anonymous is a client of a server that requires no token.
	anonymous = identity{permissions: []string{
		maySubmit, mayRead, mayCancel, mayReadTenant, mayCancelTenant, mayOperate, mayPayloads, mayErase,
	}}
	// holder is a client with one of the tokens that are required.
	holder = identity{permissions: []string{maySubmit, mayRead, mayCancel, mayPayloads, mayErase}}
)

// leeway is how long after its end a grant is still accepted, for clocks that differ.
const leeway = 30 * time.Second

func (w identity) may(permission string) bool { return slices.Contains(w.permissions, permission) }

// check returns the error for a client that lacks one of these permissions.
func (w identity) check(needed ...string) error {
	for _, permission := range needed {
		if !w.may(permission) {
			return frame.NewProblem(code.Forbidden, "the token does not permit this: it needs "+strings.Join(needed, " "))
		}
	}
	return nil
}

// checkOrder is check for a cancel or a retry, which who may operate may give, too.
func (w identity) checkOrder(kind frame.Type) error {
	switch {
	case w.may(mayOperate):
		return nil
	case kind == frame.Cancel:
		return w.check(mayCancel)
	}
	return w.check(maySubmit)
}

// sees reports whether the identity may use a job.
func (w identity) sees(r *record) bool {
	return w.scope == nil || opens(w.scope.Jobs, r.doc.JobID) && opens(w.scope.Types, r.doc.Type)
}

// opens reports whether a list of a grant has a name. An empty list restricts nothing.
func opens(names []string, name string) bool { return len(names) == 0 || slices.Contains(names, name) }

// checkSubmit returns why the identity may not submit jobs of a type, or nil.
func (w identity) checkSubmit(jobType string) error {
	if w.scope != nil && (len(w.scope.Jobs) > 0 || !opens(w.scope.Types, jobType)) {
		return frame.NewProblem(code.Forbidden, "the grant does not permit to submit jobs of this type")
	}
	return nil
}

// checkMine returns why the identity may not follow all jobs at once, or nil.
func (w identity) checkMine() error {
	if w.scope != nil {
		return frame.NewProblem(code.Forbidden, "a grant follows its jobs one by one")
	}
	return nil
}

// watches reports whether the job of a submit or retry is to be watched; asked is the frame's field watch.
func (w identity) watches(asked *bool) (bool, error) {
	switch {
	case w.may(mayRead):
		return asked == nil || *asked, nil
	case asked != nil && *asked:
		return false, frame.NewProblem(code.Forbidden, "the token does not permit watching: it needs "+mayRead)
	}
	return false, nil
}

// inURL reports whether a grant may stand in a URL: only if it is limited to jobs and can only read.
func (w identity) inURL() bool {
	return w.scope != nil && len(w.scope.Jobs) > 0 && !slices.ContainsFunc(w.permissions, func(permission string) bool {
		return permission != mayRead && permission != mayReadTenant && permission != mayPayloads
	})
}

// over returns when connections of the identity end, and warning when their clients are told that they will; both are
// zero if they do not end.
func (w identity) over() (warning, end time.Time) {
	if w.expires.IsZero() {
		return warning, end
	}
	return w.expires.Add(-min(time.Until(w.expires)/10, time.Minute)), w.expires.Add(leeway)
}

var errUnauthenticated = frame.NewProblem(code.Unauthenticated, "a valid token is needed")

// identifyLocked returns the identity of a token; present is false if there is none.
func (s *Server) identifyLocked(token string, present bool) (identity, error) {
	if who, ok := s.grants[token]; ok {
		if time.Now().After(who.expires.Add(leeway)) {
			return identity{}, errUnauthenticated
		}
		return who, nil
	}
	switch {
	case s.faults.tokens == nil:
		return anonymous, nil
	case present && slices.Contains(s.faults.tokens, token):
		return holder, nil
	}
	return identity{}, errUnauthenticated
}

// identify returns the identity of a request: of a ticket, which it uses up, of a grant in its URL, or of a token. A
// token is in a header or, as pages send it with a WebSocket handshake, in a subprotocol. takesURL says whether the
// route takes grants in URLs.
func (s *Server) identify(r *http.Request, takesURL bool) (identity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	query := r.URL.Query()
	ticket := query.Get(ticketParam)
	if ticket != "" && (r.URL.Path == socketPath || strings.HasSuffix(r.URL.Path, "/events")) {
		t := s.tickets[ticket]
		delete(s.tickets, ticket)
		if !time.Now().Before(t.expires) {
			return identity{}, errUnauthenticated
		}
		return t.who, nil
	}
	token, present := bearer(r)
	grants := query[grantParam]
	if len(grants) == 0 {
		return s.identifyLocked(token, present)
	}
	switch {
	case !takesURL:
		return identity{}, frame.NewProblem(code.Forbidden, "a grant may stand only in URLs of event streams and results; "+
			"elsewhere it is sent like a token")
	case present:
		return identity{}, frame.NewProblem(code.InvalidFrame, "the request has a token in a header and a grant in its URL")
	case len(grants) > 1:
		return identity{}, errUnauthenticated
	}
	who, err := s.identifyLocked(grants[0], true)
	if err == nil && !who.inURL() {
		err = frame.NewProblem(code.Forbidden, "a grant may stand in a URL only if it is limited to jobs and can only read")
	}
	return who, err
}

// bearer returns the token of a request.
func bearer(r *http.Request) (token string, present bool) {
	token, present = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	for _, protocols := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(protocols, ",") {
			if t, ok := strings.CutPrefix(strings.TrimSpace(p), frame.BearerProtocolPrefix); ok && !present {
				token, present = t, true
			}
		}
	}
	return token, present
}

type identityKey struct{}

// handle registers a route for clients with these permissions.
func (s *Server) handle(pattern string, serve http.HandlerFunc, needed ...string) {
	_, path, _ := strings.Cut(pattern, " ")
	takesURL := strings.HasPrefix(pattern, http.MethodGet) &&
		(strings.HasSuffix(path, "/events") || strings.HasSuffix(path, "/result"))
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		who, err := s.identify(r, takesURL)
		if err == nil {
			err = who.check(needed...)
		}
		if err != nil {
			problem(w, err)
			return
		}
		serve(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, who)))
	})
}

// whoOf returns the identity of a request that handle has passed on.
func whoOf(r *http.Request) identity {
	who, _ := r.Context().Value(identityKey{}).(identity)
	return who
}

// grantScope returns what a grant that the identity asks for opens, or why there is none: a grant is never wider than
// its maker's.
func (w identity) grantScope(o frame.GrantOptions, asked grant.Scope) (grant.Scope, error) {
	if !(o.TTL >= 1 && o.TTL <= grant.MaxTTL.Seconds()) {
		return asked, frame.NewProblem(code.InvalidFrame,
			fmt.Sprintf("ttl must be 1 to %d seconds", int(grant.MaxTTL.Seconds())))
	}
	for _, word := range o.Permissions {
		all, known := permissionWords[word]
		switch {
		case !known:
			return asked, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("%.64q is not a permission", word))
		case w.check(all...) != nil:
			return asked, frame.NewProblem(code.Forbidden,
				fmt.Sprintf("the token does not permit %s, so a grant of its holder cannot, either", word))
		}
	}
	if len(o.Permissions) == 0 && !w.may(mayRead) {
		return asked, frame.NewProblem(code.Forbidden,
			"the token does not permit read, so a grant of its holder cannot, either")
	}
	of, err := asked.Canonical()
	switch {
	case err != nil:
		return of, frame.NewProblem(code.InvalidFrame, err.Error())
	case w.scope == nil:
		return of, nil
	}
	outside := func(names, own []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return !opens(own, name) })
	}
	if outside(of.Jobs, w.scope.Jobs) || outside(of.Types, w.scope.Types) {
		return of, frame.NewProblem(code.Forbidden, "the grant of the grant's maker does not open these jobs")
	}
	if len(of.Jobs) == 0 {
		of.Jobs = w.scope.Jobs
	}
	if len(of.Types) == 0 {
		of.Types = w.scope.Types
	}
	return of, nil
}
