package subjects

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// TestACursorIsAWayBack: a subscription with a cursor gets the changes since then, as there is room; other
// subscriptions do not get them.
func TestACursorIsAWayBack(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		a := w.follow("ann")
		w.cover(1, 0, false, 1)
		w.cover(1, 1, false, 1)
		w.index.Update(update(1, "seen", 7))
		a.want(t, "it follows", "subscribed", "seen@7")
		w.index.Sweep()
		left := time.Now()
		if a.cursor == "" {
			t.Fatal("it was told no cursor")
		}
		first := a.cursor
		time.Sleep(time.Hour)
		w.index.Sweep()
		if a.cursor != first {
			t.Error("a cursor is told again, though nothing was delivered since")
		}

		w.mu.Lock()
		w.refuse = 1
		w.pages = []*trackerpb.ListResponse{
			{Jobs: []*trackerpb.ListedJob{{Job: update(0, "one", 8)}}, Through: &trackerpb.Place{JobId: "one"}},
			{Jobs: []*trackerpb.ListedJob{{Job: update(0, "two", 9)}}},
		}
		w.mu.Unlock()
		b := w.followAfter("ann", first)
		b.mu.Lock()
		b.full = true
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		w.index.Update(update(1, "live", 10))
		w.index.Sweep()
		b.want(t, "there is no room for the past", "subscribed", "live@10")
		b.mu.Lock()
		if b.cursor != "" {
			t.Error("it was told a cursor while it lacks something")
		}
		b.full = false
		b.mu.Unlock()
		time.Sleep(10 * time.Second)
		b.want(t, "what it has missed", "one@8", "two@9")
		a.want(t, "who was there is told what is new only", "live@10")
		w.index.Sweep()
		if a.cursor <= first || b.cursor <= a.cursor {
			t.Errorf("cursors %q and %q after %q", a.cursor, b.cursor, first)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.lists) != 2 || w.lists[1].After == nil ||
			time.UnixMilli(w.lists[0].UpdatedFrom).Sub(left.Add(-overlap)).Abs() > time.Second {
			t.Errorf("asked %v", w.lists)
		}
	})
}

// TestACursorComesAtOnce: the first cursor comes with the answer, or once what was missed is told. A client that was
// cut off before it had a cursor would not know what it has missed.
func TestACursorComesAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		has := func(what string, r *reader, want bool) {
			t.Helper()
			synctest.Wait()
			r.mu.Lock()
			defer r.mu.Unlock()
			if (r.cursor != "") != want {
				t.Errorf("%s: the cursor is %q", what, r.cursor)
			}
			r.cursor = ""
		}
		a := w.follow("ann")
		w.cover(1, 0, false, 1)
		has("one of two partitions is covered", a, false)
		w.cover(1, 1, false, 1)
		has("it is answered", a, true)

		w.index.Update(update(1, "j", 7))
		has("a status, before the next second", a, false)

		w.mu.Lock()
		w.pages = []*trackerpb.ListResponse{
			{Jobs: []*trackerpb.ListedJob{{Job: update(0, "one", 8)}}, Through: &trackerpb.Place{JobId: "one"}},
			{Jobs: []*trackerpb.ListedJob{{Job: update(0, "two", 9)}}},
		}
		w.mu.Unlock()
		b := &reader{full: true}
		after := writeCursor(time.Now().UnixMilli())
		b.Subscription = Subscription{Subscriber: b, Tenant: "acme", Subject: "ann", After: after}
		w.index.Subscribe(&b.Subscription)
		has("what was missed is not told yet", b, false)
		b.mu.Lock()
		b.full = false
		b.mu.Unlock()
		time.Sleep(roomRetry)
		b.want(t, "what was missed", "subscribed", "one@8", "two@9")
		has("what was missed is told", b, true)
	})
}

// TestWhatIsNoCursorCountsAsNone: neither an invalid cursor nor one of a time that this log has not reached is used.
func TestWhatIsNoCursorCountsAsNone(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		future := writeCursor(time.Now().Add(time.Hour).UnixMilli())
		for i, cursor := range []string{"nonsense", "1", "1-5", "10", "2abc", "1zzzzzzzzzzzzzzzzzzzz", future} {
			handle := uint32(i + 1)
			a := w.followAfter(fmt.Sprint(i), cursor)
			w.cover(1, 0, false, handle)
			w.cover(1, 1, false, handle)
			a.want(t, cursor, "subscribed reset")
			time.Sleep(5 * time.Second)
			j := update(handle, "j", 3)
			j.Subject = a.Subject
			w.index.Update(j)
			a.want(t, cursor, "j@3")
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.lists) != 0 {
			t.Errorf("asked %v", w.lists)
		}
	})
}
