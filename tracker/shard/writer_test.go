package shard

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// Who keeps streams hears of each change of a job's writer, and of nothing else.
func TestWhoKeepsStreamsHearsOfWriters(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var told atomic.Int64
		w.told = func(string) { told.Add(1) }
		w.start()
		defer func() { w.end() }()
		synctest.Wait()
		id := jobIDs(1)[0]
		want := func(why string, heard bool, writer string) {
			t.Helper()
			synctest.Wait()
			all, err := w.shard.Writers(t.Context(), []string{id, "none"})
			if err != nil || len(all) != 2 || all[1].Found {
				t.Fatalf("%s: %+v, %v", why, all, err)
			}
			if got := fmt.Sprintf("%d %s %t %v", all[0].Dispatch, all[0].Run, all[0].Ended, all[0].Totals); got != writer {
				t.Fatalf("%s: the writer is %s, want %s", why, got, writer)
			}
			if n := told.Swap(0); n > 0 != heard {
				t.Fatalf("%s: told %d times", why, n)
			}
		}
		want("no such job", false, "0  false map[]")
		w.submit(id)
		want("nobody has begun", false, "0  false map[]")
		w.claim(id, "r1")
		want("a claim", true, "1 r1 false map[]")
		w.append(id, event.Beat, run("r1"))
		w.append(id, event.Beat, run("zombie"))
		want("beats", false, "1 r1 false map[]")
		w.append(id, event.Completed, run("r1"), func(e *event.Event) {
			e.Streams = job.Streams{"s": {Kind: job.StreamText, Total: 3}}
		})
		want("the end", true, "1 r1 true map[s:{text 3}]")
		w.append(id, event.RetryRequested)
		want("a retry", true, "1 r1 false map[]")
		w.append(id, event.CancelRequested, round(1))
		want("a cancel", true, "1 r1 true map[]")
		time.Sleep(policy().Retention.Duration() + time.Minute)
		want("it has expired", true, "0  false map[]")
	})
}

// A writer is found under the conditions of Get.
func TestAWriterOutsideTheScopeIsNotFound(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		synctest.Wait()
		got, err := w.shard.Writer(t.Context(), id, Scope{Tenant: tenant})
		if err != nil || got.Run != "r1" || got.Life == "" || got.AsOf != w.shard.Position() {
			t.Fatalf("%+v, %v", got, err)
		}
		for _, s := range []Scope{{Tenant: "evil"}, {Tenant: tenant, IDs: []string{"other"}}} {
			if got, err := w.shard.Writer(t.Context(), id, s); !errors.Is(err, ErrNotFound) {
				t.Fatalf("%+v: %+v, %v", s, got, err)
			}
		}
	})
}
