package shard

import (
	"slices"

	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/tracker/fold"
	"github.com/ackwire/ackwire/tracker/store"
)

// Scope says which jobs a question may find; see trackerpb.Scope. A job outside of it is answered as one that does not
// exist, and its document is not read for that.
type Scope struct {
	Tenant    string
	AnyTenant bool
	// Owner is the only submitter whose jobs are found; nil finds those of all.
	Owner *string
	// IDs and Types restrict unless they are empty.
	IDs, Types []string
}

// ScopeOf returns the scope of a request. Without s, as gateways of earlier releases send it, it is the whole tenant.
func ScopeOf(tenant string, s *trackerpb.Scope) Scope {
	scope := Scope{Tenant: tenant}
	if s == nil {
		return scope
	}
	scope.AnyTenant, scope.IDs, scope.Types = s.AnyTenant, s.JobIds, s.Types
	if s.Own {
		scope.Owner = &s.Subject
	}
	return scope
}

// has reports whether a job is in the scope.
func (s Scope) has(id, tenant, subject, jobType string) bool {
	return (s.AnyTenant || tenant == s.Tenant) && (s.Owner == nil || subject == *s.Owner) &&
		(len(s.IDs) == 0 || slices.Contains(s.IDs, id)) && (len(s.Types) == 0 || slices.Contains(s.Types, jobType))
}

// finds is has for a job in memory; nil is in no scope.
func (s Scope) finds(j *fold.Job) bool {
	return j != nil && s.has(j.Doc.JobID, j.Tenant, j.Doc.Subject, j.Doc.Type)
}

// owners returns what the store needs to know in order to leave out jobs of others without reading them.
func (s Scope) owners() store.Owners {
	o := store.Owners{Subject: s.Owner}
	if !s.AnyTenant {
		o.Tenant = &s.Tenant
	}
	return o
}
