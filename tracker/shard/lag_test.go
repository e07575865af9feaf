package shard

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// lagging makes the shard stand behind a log that goes on.
func (w *world) lagging(behind bool) {
	w.set(func() { w.paused = behind })
	synctest.Wait()
}

// TestWhatALaggingShardSaysOfVersions: a version above the job's own counts as none only once
// all that the log held when the watch came is folded.
func TestWhatALaggingShardSaysOfVersions(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.lagging(true)
		w.claim(id, "r1")
		w.append(id, event.Progress)
		known, ahead, both := w.gateway(), w.gateway(), w.gateway()
		known.add(id, 3)
		ahead.add(id, 700)
		w.shard.Watch(t.Context(), both.stream, &trackerpb.WatchAdd{JobId: id, Tenant: tenant, After: 1, Known: 700})
		for _, g := range []*gateway{known, ahead, both} {
			g.want("the shard has not seen what the log has")
		}
		w.lagging(false)
		known.want("it is the job's version", "WATCHING "+id+"@3")
		ahead.want("the log never had it: the state is sent", "WATCHING "+id+"@3", id+"@3")
		both.want("one of two watchers is ahead", "WATCHING "+id+"@3", id+"@3")
		w.append(id, event.Progress)
		for _, g := range []*gateway{known, ahead, both} {
			g.want("and all follow", id+"@4")
		}
		w.set(func() { w.endErr = errors.New("no broker") })
		known.add(id, 9)
		known.want("the log's end is not known", "NOT_READY "+id+"@0")
		known.add(id, 4)
		known.want("which only that question needs", "WATCHING "+id+"@4")
	})
}

// TestTheEndOfAFormerRoundEndsNoWatch: that a job has ended is said only of the log as it was when
// the question came: its retry may be acked already.
func TestTheEndOfAFormerRoundEndsNoWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		id := jobIDs(1)[0]
		w.submit(id)
		w.claim(id, "r1")
		w.append(id, event.Completed) // 3
		w.lagging(true)
		w.append(id, event.RetryRequested)
		g := w.gateway()
		g.add(id, 0)
		g.want("it may be open again")
		end := w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}, UntilTerminal: true})
		end.wantWaiting(t, "the former round's end is none")
		a := w.ask(t.Context(), Query{JobID: id, Scope: Scope{Tenant: tenant}})
		a.wantVersion(t, "a question for the state now waits for nothing",
			3)
		w.lagging(false)
		g.want("it is, and is handed out", "WATCHING "+id+"@4", id+"@5")
		w.claim(id, "r2")
		w.append(id, event.Completed, run("r2"), dispatch(2))
		g.want("the end that counts", id+"@7")
		end.wantVersion(t, "the end that counts", 7)
	})
}

// TestAnAnswerIsNeverOfNoTime: a shard that is ready knows of which time its answers are, also one
// whose log is empty, or tells it nothing new.
func TestAnAnswerIsNeverOfNoTime(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		wantTime := func(why string) {
			t.Helper()
			o, err := w.shard.Overlay(t.Context(), tenant, 0)
			if err != nil || o.AsOf.IsZero() {
				t.Fatalf("%s: %+v, %v", why, o, err)
			}
		}
		wantTime("an empty log")
		w.submit(jobIDs(1)[0])
		w.pass(2 * checkpointInterval)
		w.end()
		w.start()
		synctest.Wait()
		wantTime("a log that tells nothing new")
	})
}
