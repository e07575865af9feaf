package auth

import (
	"encoding/binary"
	"slices"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// Grant restricts an identity to some jobs, whatever its permissions are.
type Grant struct {
	// Jobs has the IDs of the only jobs that it may use; empty restricts nothing.
	Jobs []string
	// Types has the only job types that it may use; empty restricts nothing.
	Types []string
}

// Scope says which jobs an identity may see or act on. Trackers check it before they read a job's document, so that a
// job outside of it costs and answers the same as none. A Scope is not changed once it is made.
type Scope struct {
	Tenant string
	// AnyTenant includes the jobs of every tenant. It has no effect on lists and counts, which are Tenant's.
	AnyTenant bool
	// Own includes only jobs that Subject has submitted.
	Own     bool
	Subject string
	// Jobs and Types, unless they are empty, include only jobs with these IDs and of these types.
	Jobs, Types []string

	key string
}

// Scope returns which jobs the identity may read (Read), cancel (Cancel), retry (Submit) or erase (Erase). It does not
// say that it may do so at all: that is May.
func (i Identity) Scope(to Permissions) *Scope {
	whole := ReadTenant
	if to == Cancel || to == Submit {
		whole = CancelTenant
	}
	s := Scope{Tenant: i.Tenant, Subject: i.Subject, AnyTenant: i.May(Operate), Own: !i.May(whole) && !i.May(Operate)}
	if i.Grant != nil {
		s.Jobs, s.Types = i.Grant.Jobs, i.Grant.Types
	}
	return s.made()
}

// SubjectScope returns the scope of all jobs that a subject has submitted, for what a submit asks of its own job.
func SubjectScope(tenant, subject string) *Scope {
	return Scope{Tenant: tenant, Own: true, Subject: subject}.made()
}

// TenantScope returns the scope of all jobs of a tenant, for the gateway's own requests.
func TenantScope(tenant string) *Scope { return Scope{Tenant: tenant}.made() }

func (s Scope) made() *Scope {
	if !s.Own {
		s.Subject = ""
	}
	s.Jobs, s.Types = sorted(s.Jobs), sorted(s.Types)
	b := appendTexts(nil, s.Tenant)
	if s.AnyTenant {
		b = append(b, 'a')
	}
	if s.Own {
		b = appendTexts(append(b, 'o'), s.Subject)
	}
	if len(s.Jobs)+len(s.Types) > 0 {
		b = appendTexts(appendTexts(append(b, 'g'), s.Jobs...), s.Types...)
	}
	s.key = string(b)
	return &s
}

// appendTexts appends texts so that no two lists give the same bytes.
func appendTexts(b []byte, all ...string) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	for _, v := range all {
		b = append(binary.AppendUvarint(b, uint64(len(v))), v...)
	}
	return b
}

func sorted(all []string) []string {
	if len(all) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(all)))
}

// Key identifies the scope: two scopes with one key include the same jobs.
func (s *Scope) Key() string { return s.key }

// Proto returns the scope for a request to a tracker.
func (s *Scope) Proto() *trackerpb.Scope {
	return &trackerpb.Scope{AnyTenant: s.AnyTenant, Own: s.Own, Subject: s.Subject, JobIds: s.Jobs, Types: s.Types}
}

// HidesSubject reports whether documents are shown without the subject that has submitted the job: to a grant that
// opens the jobs of others.
func (s *Scope) HidesSubject() bool { return !s.Own && len(s.Jobs)+len(s.Types) > 0 }

// HidesSubject is Scope.HidesSubject of a scope as a tracker is told of it.
func HidesSubject(s *trackerpb.Scope) bool {
	return s != nil && !s.Own && len(s.JobIds)+len(s.Types) > 0
}

// Owns reports whether a job of that owner may be in the scope, as far as its owner alone says.
func (s *Scope) Owns(tenant, subject string) bool {
	return (s.AnyTenant || tenant == s.Tenant) && (!s.Own || subject == s.Subject)
}

// Covers reports whether every job that is in other is in the scope too.
func (s *Scope) Covers(other *Scope) bool {
	within := func(all, some []string) bool {
		return len(all) == 0 || len(some) > 0 && !slices.ContainsFunc(some, func(v string) bool {
			return !slices.Contains(all, v)
		})
	}
	return (s.AnyTenant || s.Tenant == other.Tenant && !other.AnyTenant) &&
		(!s.Own || other.Own && s.Subject == other.Subject) && within(s.Jobs, other.Jobs) && within(s.Types, other.Types)
}

// MayFollowAll reports whether the identity may watch all of its jobs at once (mine). A grant watches its jobs one by
// one.
func (i Identity) MayFollowAll() bool { return i.May(Read) && i.Grant == nil }

// ListScope returns which jobs of a tenant the identity may watch as a list; nil if none. A grant for single jobs
// watches them one by one, and only who may operate names another tenant.
func (i Identity) ListScope(tenant string) *Scope {
	if !i.May(Read) || i.Grant != nil && len(i.Grant.Jobs) > 0 || tenant != i.Tenant && !i.May(Operate) {
		return nil
	}
	s := *i.Scope(Read)
	s.Tenant, s.AnyTenant = tenant, false
	return s.made()
}

// MaySubmit reports whether the identity may submit new jobs of a type. A grant for some jobs permits no new ones.
func (i Identity) MaySubmit(jobType string) bool {
	return i.May(Submit) && i.MayKnowType(jobType)
}

// MayKnowType reports whether the identity may be told of a job type: any, unless it has a grant for others, or for
// single jobs only.
func (i Identity) MayKnowType(jobType string) bool {
	g := i.Grant
	return g == nil || len(g.Jobs) == 0 && (len(g.Types) == 0 || slices.Contains(g.Types, jobType))
}

// GetRequest returns a request for a job that is in the scope.
func (s *Scope) GetRequest(jobID string) *trackerpb.GetRequest {
	return &trackerpb.GetRequest{JobId: jobID, Tenant: s.Tenant, Scope: s.Proto()}
}
