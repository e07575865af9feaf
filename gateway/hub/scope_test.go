package hub

import (
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// TestScopesAreAnsweredOneByOne: several clients watch one ID, and only those that may see the job get its status. The
// status is encoded once for all of them.
func TestScopesAreAnsweredOneByOne(t *testing.T) {
	h := New(time.Minute)
	h.Attach(&noUpstream{})
	scopes := map[string]*auth.Scope{
		"owner": auth.SubjectScope("acme", "ann"), "stranger": auth.SubjectScope("acme", "bob"),
		"tenant": auth.TenantScope("acme"), "other tenant": auth.TenantScope("globex"),
	}
	watchers := map[string]*watcher{}
	for name, scope := range scopes {
		watchers[name] = &watcher{}
		h.Subscribe(&Subscription{Subscriber: watchers[name], JobID: "a", Scope: scope})
	}
	answer := func(name string, outcome trackerpb.Watched_Outcome) {
		h.Watched(&trackerpb.Watched{JobId: "a", Who: scopes[name].Key(), Outcome: outcome, Version: 1})
	}
	update := func(version int64, subject string) {
		h.Update(&trackerpb.Job{
			JobId: "a", Tenant: "acme", Subject: subject, Version: version, Document: []byte(`{"secret":1}`),
		})
	}
	answer("owner", trackerpb.Watched_WATCHING)
	update(1, "ann")
	answer("stranger", trackerpb.Watched_NOT_FOUND)
	answer("tenant", trackerpb.Watched_WATCHING)
	answer("other tenant", trackerpb.Watched_NOT_FOUND)
	update(2, "ann")
	for name, want := range map[string]int{"owner": 2, "stranger": 0, "tenant": 1, "other tenant": 0} {
		if got := len(watchers[name].frames); got != want {
			t.Errorf("%s was sent %d statuses, want %d", name, got, want)
		}
	}
	if owner, tenant := watchers["owner"], watchers["tenant"]; owner.frames[1] != tenant.frames[0] {
		t.Error("one status was encoded twice")
	}

	// The ID has a job of somebody else by now, before any tracker has said so.
	update(3, "bob")
	if n := len(watchers["owner"].frames); n != 2 {
		t.Error("the former owner was sent the next job")
	}
	if n := len(watchers["tenant"].frames); n != 2 {
		t.Error("the tenant was not sent the next job")
	}
}
