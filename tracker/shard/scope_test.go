package shard

import (
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// scopes are requests' scopes, and whether a job of ann's, of type demo.echo, is in them.
func scopes(id string) map[string]struct {
	tenant string
	scope  *trackerpb.Scope
	in     bool
} {
	type one = struct {
		tenant string
		scope  *trackerpb.Scope
		in     bool
	}
	return map[string]one{
		"a gateway of an earlier release": {tenant, nil, true},
		"the whole tenant":                {tenant, &trackerpb.Scope{}, true},
		"its owner":                       {tenant, &trackerpb.Scope{Own: true, Subject: "ann"}, true},
		"another user":                    {tenant, &trackerpb.Scope{Own: true, Subject: "bob"}, false},
		"a client without a subject":      {tenant, &trackerpb.Scope{Own: true}, false},
		"another tenant":                  {"umbrella", &trackerpb.Scope{}, false},
		"a namesake of another tenant":    {"umbrella", &trackerpb.Scope{Own: true, Subject: "ann"}, false},
		"an operator":                     {"umbrella", &trackerpb.Scope{AnyTenant: true}, true},
		"a grant for it":                  {tenant, &trackerpb.Scope{JobIds: []string{"x", id}}, true},
		"a grant for another job":         {tenant, &trackerpb.Scope{JobIds: []string{"x"}}, false},
		"a grant for its type":            {tenant, &trackerpb.Scope{Types: []string{"x", "demo.echo"}}, true},
		"a grant for another type":        {tenant, &trackerpb.Scope{Types: []string{"x"}}, false},
		"another user's grant for it":     {tenant, &trackerpb.Scope{Own: true, Subject: "bob", JobIds: []string{id}}, false},
	}
}

// Every question for a job is answered by its scope, whether the job is in memory or in the store only.
func TestScopes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id, of(tenant, "ann"))
		check := func(where string) {
			for who, c := range scopes(id) {
				scope := ScopeOf(c.tenant, c.scope)
				_, err := w.get(Query{JobID: id, Scope: scope})
				if c.in && err != nil || !c.in && !errors.Is(err, ErrNotFound) {
					t.Errorf("%s, %s: get: %v", where, who, err)
				}
				r, err := w.shard.Reserve(t.Context(), id, scope, who)
				if err != nil || (r.Job.Job != nil) != c.in {
					t.Errorf("%s, %s: reserve: %+v, %v", where, who, r, err)
				}
				_ = w.shard.Unreserve(t.Context(), id, who)
				g := w.gateway()
				w.shard.Watch(t.Context(), g.stream, &trackerpb.WatchAdd{
					JobId: id, Tenant: c.tenant, Scope: c.scope, Who: who,
				})
				synctest.Wait()
				response, err := g.stream.Next(t.Context())
				if err != nil || len(response.Watched) != 1 || response.Watched[0].Who != who {
					t.Fatalf("%s, %s: watch: %v, %v", where, who, response, err)
				}
				outcome, sees := response.Watched[0].Outcome, len(response.Updates) == 1
				if (outcome == trackerpb.Watched_WATCHING) != c.in || sees != c.in ||
					!c.in && outcome != trackerpb.Watched_NOT_FOUND {
					t.Errorf("%s, %s: watch: %v", where, who, response)
				}
				g.stream.Close()
				w.shard.Leave(g.stream)
			}
		}
		check("in memory")
		w.claim(id, "r1")
		w.append(id, event.Completed)
		w.pass(time.Second)
		w.inside(func(s *Shard) {
			if s.jobs.all[id] != nil {
				t.Error("the job is still in memory")
			}
		})
		check("in the store")
	})
}

// A question for a job of somebody else reads as much as one for a job that is not there, however large its document.
func TestForeignJobsCostWhatNoneCosts(t *testing.T) {
	const size, times = 60 << 10, 50
	inBubble(t, func(t *testing.T, w *world) {
		ids := jobIDs(2)
		w.complete(ids[:1], size, of(tenant, "ann"))
		if r, err := w.get(Query{JobID: ids[0], Scope: Scope{Tenant: tenant}}); err != nil || len(r.Job.Document) < size {
			t.Fatalf("the document is not large: %v, %v", r.Job, err)
		}
		cost := func(id string, scope Scope) int64 {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range times {
				if _, err := w.get(Query{JobID: id, Scope: scope}); !errors.Is(err, ErrNotFound) {
					t.Fatal(err)
				}
			}
			runtime.ReadMemStats(&after)
			return int64(after.TotalAlloc-before.TotalAlloc) / times
		}
		bob := "bob"
		for why, scope := range map[string]Scope{
			"another user": {Tenant: tenant, Owner: &bob}, "another tenant": {Tenant: "umbrella"},
		} {
			none, foreign := cost(ids[1], scope), cost(ids[0], scope)
			if foreign > none+none/2+4<<10 {
				t.Errorf("%s: a foreign job of %d bytes costs %d bytes, one that is not there %d", why, size, foreign, none)
			}
		}
		w.inside(func(s *Shard) {
			if s.jobs.all[ids[0]] != nil {
				t.Error("the job is in memory, which this test is not about")
			}
		})
	})
}
