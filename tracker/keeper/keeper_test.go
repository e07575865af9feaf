package keeper

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// inBubble runs a test with a keeper that is ready.
func inBubble(t *testing.T, f func(*testing.T, *world)) {
	bubble.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		w.start()
		defer func() { w.end() }()
		synctest.Wait()
		f(t, w)
	})
}

// soon is time enough for the keeper to hear, to read and to save.
func soon() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func total(n int64) job.Streams { return job.Streams{"s": {Kind: job.StreamText, Total: n}} }

func TestAClaimThatIsFoldedLater(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		end := w.text("a", "r1", 1, 0, "one ", "two")
		soon()
		w.wantRecords("no claim is folded", taken, 0)
		w.claim("a", "r1", 1)
		soon()
		w.want("the claim is folded", "a", 0, 0, "1@0 one two")
		w.text("a", "r2", 2, 0, "three")
		w.text("a", "r1", 1, end, " more")
		soon()
		w.want("a later run waits", "a", 0, 0, "1@0 one two more")
		w.claim("a", "r2", 2)
		soon()
		w.want("it counts", "a", 1, 3, "2@0 three reset")
		w.text("a", "r1", 1, end+5, "late")
		w.text("a", "other", 2, 0, "other")
		w.append(&kgo.Record{Key: []byte("a"), Value: []byte("no headers")})
		soon()
		w.want("nobody else does", "a", 2, 0, "2@0 three")
		w.wantRecords("of the former run", oldDispatch, 1)
		w.wantRecords("of another run", otherRun, 1)
		w.wantRecords("without headers", undecodable, 1)
	})
}

func TestAClaimThatNeverComes(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.text("a", "r1", 1, 0, "one")
		time.Sleep(holdFor - time.Second)
		w.wantRecords("it waits", unknownRun, 0)
		if at, _, err := w.store.Partition(0).StreamsPosition(); at != 0 || err != nil {
			t.Fatalf("the position has passed what waits: %d, %v", at, err)
		}
		time.Sleep(2 * time.Second)
		w.wantRecords("it is dropped", unknownRun, 1)
		w.wantRow("nothing is stored", "a", "none")
		if len(w.keeper.jobs) != 0 || len(w.keeper.news.interest) != 0 {
			t.Fatalf("%d jobs are left, and %d names", len(w.keeper.jobs), len(w.keeper.news.interest))
		}
		w.claim("a", "r1", 1)
		w.text("a", "r1", 1, 3, "two")
		soon()
		w.want("there is a gap", "a", 0, 0, "1@0  gone")
		w.wantRecords("behind it", gap, 1)
		if got := testutil.ToFloat64(w.shared.lost); got != 1 {
			t.Fatalf("%v streams are lost", got)
		}
	})
}

func TestDoubledRecordsAndGaps(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.claim("a", "r1", 1)
		w.text("a", "r1", 1, 0, "one ", "two ")
		w.text("a", "r1", 1, 0, "one ", "two ")
		w.text("a", "r1", 1, 4, "two three ")
		soon()
		w.want("doubled and overlapping", "a", 0, 0, "1@0 one two three ")
		w.wantRecords("doubled", doubled, 2)
		w.text("a", "r1", 1, 20, "five ")
		w.text("a", "r1", 1, 14, "four ")
		soon()
		w.want("what is before the gap", "a", 1, 4, "1@4 two three ")
		w.want("the gap", "a", 1, 14, "1@14  gone")
		w.finish("a", total(25))
		soon()
		w.want("the gap, after the end", "a", 1, 14, "1@14  gone")
		w.wantRow("it is not kept, but closed", "a", "closed")
	})
}

func TestAnEndWithoutTotals(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.claim("a", "r1", 1)
		end := w.text("a", "r1", 1, 0, "one")
		soon()
		w.finish("a", nil)
		soon()
		w.want("all was read", "a", 1, end, "1@3  ended")
		w.text("a", "r1", 1, end, "late")
		soon()
		w.wantRecords("after the end", late, 1)
		w.want("it changes nothing", "a", 1, 0, "1@0 one ended")
		w.claim("b", "r1", 1)
		w.finish("b", nil)
		w.want("a stream that was never written to, at once", "b", 0, 0, "1@0 ")
		soon()
		w.want("a stream that was never written to", "b", 0, 0, "1@0  ended")
		w.wantRow("there is none", "b", "none")
		w.fold("c", func(f *Facts) { f.Ended = true })
		w.want("no run has ever begun", "c", 0, 0, "0@0  ended")
	})
}

// An ended job that is retried shows its former streams until the next run begins.
func TestAJobIsRetried(t *testing.T) {
	inBubble(t, func(_ *testing.T, w *world) {
		w.claim("a", "r1", 1)
		w.text("a", "r1", 1, 0, "one")
		w.finish("a", total(3))
		soon()
		w.wantRow("it has ended", "a", "closed")
		w.fold("a", func(f *Facts) { f.Ended, f.Totals = false, nil })
		w.want("it waits for its next run", "a", 1, 0, "1@0 one")
		w.want("at the end of the former run", "a", 1, 3, "1@3 ")
		w.claim("a", "r2", 2)
		w.text("a", "r2", 2, 0, "two")
		soon()
		w.want("the next run", "a", 1, 3, "2@0 two reset")
		w.wantRow("it runs", "a", "open")
		w.finish("a", total(9))
		soon()
		w.want("its end, of which something is lost", "a", 2, 3, "2@3  gone")
	})
}

// All that is stored of a job is removed with it, whatever the order.
func TestRemovedJobsLeaveNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for _, id := range []string{"open", "closed"} {
			w.claim(id, "r1", 1)
			w.text(id, "r1", 1, 0, "one")
		}
		w.finish("closed", total(3))
		soon()
		w.wantRow("it runs", "open", "open")
		w.wantRow("it has ended", "closed", "closed")
		remove := func(id string) { w.fold(id, func(f *Facts) { *f = Facts{} }) }
		remove("open")
		soon()
		w.wantRow("it was removed", "open", "none")
		// The store has no such job, so the sweep asks for it.
		time.Sleep(sweepAfter)
		soon()
		w.wantRow("the shard knows the job", "closed", "closed")
		remove("closed")
		time.Sleep(sweepInterval)
		soon()
		w.wantRow("it was swept", "closed", "none")
		if len(w.keeper.jobs) != 0 || len(w.keeper.news.interest) != 0 {
			t.Fatalf("%d jobs are left, and %d names", len(w.keeper.jobs), len(w.keeper.news.interest))
		}
		_, err := w.keeper.Read(t.Context(), w.query("open", 0, 0), false)
		if !errors.Is(err, ErrNotFound) {
			t.Fatalf("%v, want that there is no such job", err)
		}
	})
}

// What is older than the tail is read from the topic, and what is kept from the store, when the topic has it no more.
func TestWhereItIsReadFrom(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.end()
		w.tails = 300_000
		w.start()
		block := strings.Repeat("x", 30_000)
		for _, id := range []string{"small", "large"} {
			w.claim(id, "r1", 1)
		}
		w.text("small", "r1", 1, 0, "one ", block)
		end := int64(0)
		for range 20 {
			end = w.text("large", "r1", 1, end, block)
			w.text("other", "r1", 1, 0, "in between")
		}
		soon()
		all := strings.Repeat("x", 600_000)
		w.want("some from the topic", "large", 1, 0, "1@0 "+all)
		for from, want := range map[origin]bool{fromMemory: true, fromKafka: true, fromStore: false} {
			if got := testutil.ToFloat64(w.shared.served[from]); got > 0 != want {
				t.Errorf("%v bytes are from the %s", got, from)
			}
		}
		w.finish("small", total(30_004))
		w.finish("large", total(end))
		soon()
		w.trim(30)
		w.want("the small one is kept", "small", 1, 0, "1@0 one "+block+" ended")
		if got := testutil.ToFloat64(w.shared.kept); got != 1 {
			t.Fatalf("%v are kept", got)
		}
		w.want("the large one is gone", "large", 1, 0, "1@0  gone")
		w.want("but for what the topic has", "large", 1, end-60_000, "1@540000 "+all[:60_000]+" ended")
	})
}

func TestReadsWait(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.claim("a", "r1", 1)
		for _, c := range []struct {
			does func()
			want string
		}{
			{func() { w.text("a", "r1", 1, 0, "one") }, "1@0 one"},
			{func() { w.finish("a", total(3)) }, "1@0 one ended"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			at := int64(0)
			if strings.Contains(c.want, "ended") {
				at, c.want = 3, "1@3  ended"
			}
			got := make(chan string)
			go func() {
				p, err := w.keeper.Read(ctx, w.query("a", 1, at), true)
				if err != nil {
					t.Error(err)
				}
				got <- show(p)
			}()
			synctest.Wait()
			c.does()
			if s := <-got; s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
			cancel()
		}
		w.claim("b", "r1", 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		p, err := w.keeper.Read(ctx, w.query("b", 0, 0), true)
		if err != nil || show(p) != "1@0 " || ctx.Err() == nil {
			t.Errorf("%v, %v", p, err)
		}
		if w.keeper.watches != 0 {
			t.Errorf("%d watches are left", w.keeper.watches)
		}
	})
}

// A slow connection has as many parts waiting as it follows streams, whatever is written.
func TestFollowsAreCursors(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.claim("a", "r1", 1)
		c := w.shared.NewFollows()
		defer c.Close()
		begin := func(handle uint32, id string) {
			if !c.Place(handle) {
				t.Fatalf("no place for %d", handle)
			}
			c.Begin(handle, w.keeper, w.query(id, 0, 0))
		}
		begin(1, "a")
		if c.Place(1) {
			t.Fatal("a handle is used twice")
		}
		next := func() *trackerpb.FollowedPart {
			t.Helper()
			r, err := c.Next(t.Context())
			if err != nil || len(r.Parts) != 1 {
				t.Fatalf("%v, %v", r, err)
			}
			return r.Parts[0]
		}
		if p := next(); show(p.Part) != "1@0 " {
			t.Fatalf("the first part is %v", p)
		}
		// The first part is followed by a watch, and that by another look.
		at, want := int64(0), strings.Builder{}
		for range 2000 {
			at = w.text("a", "r1", 1, at, "many words ")
			want.WriteString("many words ")
		}
		soon()
		c.mu.Lock()
		queued := len(c.queue)
		c.mu.Unlock()
		if queued != 1 {
			t.Fatalf("%d are queued", queued)
		}
		p := next()
		if show(p.Part) != "1@0 "+want.String() {
			t.Fatalf("%d bytes from %v", len(show(p.Part)), p.Part.From)
		}
		w.claim("a", "r2", 2)
		w.text("a", "r2", 2, 0, "new")
		soon()
		if p := next(); show(p.Part) != "2@0 new reset" {
			t.Fatalf("after a new run: %v", p)
		}
		w.finish("a", total(3))
		if p := next(); show(p.Part) != "2@3  ended" {
			t.Fatalf("at the end: %v", p)
		}
		if len(c.all) != 0 || w.keeper.watches != 0 {
			t.Fatalf("%d follows and %d watches are left", len(c.all), w.keeper.watches)
		}
		w.claim("b", "r1", 1)
		begin(2, "b")
		next()
		w.fold("b", func(f *Facts) { *f = Facts{} })
		if p := next(); p.Outcome != trackerpb.FollowedPart_NOT_FOUND {
			t.Fatalf("the job was removed: %v", p)
		}
	})
}

// A million ended jobs cost a start nothing: the shard is asked only for those whose rows are open.
func TestAStartLooksOnlyAtWhatIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for i := range 300 {
			id := string(rune('a'+i%26)) + string(rune('a'+i/26))
			w.claim(id, "r1", 1)
			w.text(id, "r1", 1, 0, "one")
			if i > 0 {
				w.finish(id, total(3))
			}
		}
		soon()
		soon()
		w.end()
		w.mu.Lock()
		w.asked = 0
		w.mu.Unlock()
		w.start()
		soon()
		if w.asked != 1 {
			t.Fatalf("%d jobs were asked for", w.asked)
		}
		w.want("an ended job", "bb", 1, 0, "1@0 one ended")
		if len(w.keeper.jobs) != 1 {
			t.Fatalf("%d jobs are in memory", len(w.keeper.jobs))
		}
	})
}

// While the shard does not answer, what was read waits, and the keeper says for how long.
func TestAKeeperSaysHowFarItIsBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.claim("a", "r1", 1)
		w.text("a", "r1", 1, 0, "one")
		soon()
		if got := w.keeper.Behind(); got != 0 {
			t.Errorf("all was read, and it is %s behind", got)
		}
		w.silence(true)
		w.text("b", "r1", 1, 0, "two")
		time.Sleep(time.Minute)
		w.text("b", "r1", 1, 3, "three")
		time.Sleep(time.Minute)
		if got := w.keeper.Behind(); got < 2*time.Minute {
			t.Errorf("the shard has not answered for two minutes, and it is %s behind", got)
		}
		w.silence(false)
		time.Sleep(retryMax)
		soon()
		if got := w.keeper.Behind(); got != 0 {
			t.Errorf("the shard answers, and it is %s behind", got)
		}
		if got := testutil.ToFloat64(w.shared.lag); got != 0 {
			t.Errorf("the shard answers, and %v records are left", got)
		}
	})
}
