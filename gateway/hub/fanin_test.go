package hub

import (
	"fmt"
	"testing"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

type noUpstream struct {
	added int
	last  *trackerpb.WatchAdd
	lost  int
}

func (u *noUpstream) Add(a *trackerpb.WatchAdd) { u.added++; u.last = a }
func (*noUpstream) Remove(string)               {}
func (*noUpstream) Ended(string)                {}
func (u *noUpstream) Lose(string)               { u.lost++ }

// watcher is a subscriber that keeps all frames.
type watcher struct{ frames []*outbox.Frame }

func (*watcher) Subscribed(int64, code.Code) {}
func (*watcher) Withheld(int64, int)         {}
func (w *watcher) Status(f *outbox.Frame)    { w.frames = append(w.frames, f) }
func (*watcher) Reset(int64)                 {}
func (*watcher) Over()                       {}

// TestAThousandWatchersShareOneFrame: a status is encoded once for all subscribers, and not again if
// the tracker sends it again.
func TestAThousandWatchersShareOneFrame(t *testing.T) {
	const watchers, updates = 1000, 20
	h, up := New(time.Minute), &noUpstream{}
	h.Attach(up)
	var all []*watcher
	for range watchers {
		w := &watcher{}
		all = append(all, w)
		h.Subscribe(&Subscription{Subscriber: w, JobID: "a", Scope: auth.TenantScope("acme")})
	}
	h.Watched(&trackerpb.Watched{JobId: "a", Who: auth.TenantScope("acme").Key(),
		Outcome: trackerpb.Watched_WATCHING, Version: 1})
	built := map[*outbox.Frame]bool{}
	for v := range int64(updates) {
		update := &trackerpb.Job{JobId: "a", Tenant: "acme", Version: v + 1, Document: fmt.Appendf(nil, `{"n":%d}`, v)}
		h.Update(update)
		h.Update(update)
	}
	for i, w := range all {
		if len(w.frames) < updates {
			t.Fatalf("watcher %d was given %d statuses", i, len(w.frames))
		}
		for _, f := range w.frames {
			built[f] = true
		}
	}
	if len(built) != updates {
		t.Errorf("%d frames were built for %d statuses of one job with %d watchers", len(built), updates, watchers)
	}
	// The cost of another status does not depend on the number of subscribers.
	version := int64(updates)
	doc := []byte(`{"n":1}`)
	for _, w := range all {
		w.frames = make([]*outbox.Frame, 0, 4096)
	}
	if n := testing.AllocsPerRun(100, func() {
		version++
		h.Update(&trackerpb.Job{JobId: "a", Tenant: "acme", Version: version, Document: doc})
	}); n > 10 {
		t.Errorf("%v allocations for one status of %d watchers", n, watchers)
	}
}
