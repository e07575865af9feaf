package ackwire

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// subscribed answers a subscribe with versions for all its jobs and returns its refs.
func (p *peer) subscribed() []string {
	p.t.Helper()
	g := p.want(frame.Subscribe)
	var jobs []string
	for _, r := range g.refs() {
		id, _, _ := strings.Cut(r, "@")
		jobs = append(jobs, fmt.Sprintf(`{"jobId":%q,"version":1}`, id))
	}
	p.send(`{"type":"subscribed","id":%q,"jobs":[%s]}`, g.ID, strings.Join(jobs, ","))
	return g.refs()
}

func TestWatchYieldsUntilTerminal(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		w := collect(t, c.Job("j1").Watch(t.Context()))
		if refs := p.subscribed(); !slices.Equal(refs, []string{"j1"}) {
			t.Errorf("subscribed to %v", refs)
		}
		for i, state := range []string{"pending", "processing", "retrying", "completed"} {
			p.status("j1", int64(3*i+2), state)
			synctest.Wait()
		}
		got, err := w.end()
		if want := "pending@2 processing@5 retrying@8 completed@11"; got != want || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		p.wantNothing("the server ends a watch with the terminal status by itself")
		if len(c.subs) != 0 {
			t.Errorf("subscriptions left: %v", c.subs)
		}
	})
}

func TestWatchDropsOldVersions(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		w := collect(t, c.Job("j1").Watch(t.Context(), After(4)))
		if refs := p.subscribed(); !slices.Equal(refs, []string{"j1@4"}) {
			t.Errorf("subscribed to %v", refs)
		}
		for _, v := range []int64{3, 4, 6, 6, 5, 8, 7, 9} {
			state := "processing"
			if v == 9 {
				state = "failed"
			}
			p.status("j1", v, state)
			synctest.Wait()
		}
		p.status("other", 12, "completed")
		if got, err := w.end(); got != "processing@6 processing@8 failed@9" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		synctest.Wait()
		if n := c.ConnStats().Stale; n != 4 {
			t.Errorf("%d stale frames, want 4 (a second 6, 5, 7 and a stranger's)", n)
		}
	})
}

func TestWatchResumesAfterReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		w1 := collect(t, j.Watch(t.Context()))
		w2 := collect(t, c.Job("j2").Watch(t.Context(), After(40)))
		w3 := collect(t, c.Job("j3").Watch(t.Context()))
		synctest.Wait()
		p.status("j1", 17, "processing")
		synctest.Wait()
		for round := range 3 {
			p.drop()
			p = s.next()
			var refs []string
			for len(refs) < 3 {
				refs = append(refs, p.subscribed()...)
			}
			slices.Sort(refs)
			want := []string{fmt.Sprintf("j1@%d", 17+round), "j2@40", "j3"}
			if !slices.Equal(refs, want) {
				t.Errorf("round %d: subscribed to %v, want %v", round, refs, want)
			}
			p.status("j1", int64(17+round), "processing") // seen before
			p.status("j1", int64(18+round), "processing")
			synctest.Wait()
		}
		p.status("j1", 30, "completed")
		p.status("j2", 41, "completed")
		p.status("j3", 1, "completed")
		for w, want := range map[*pending[string]]string{
			w1: "processing@17 processing@18 processing@19 processing@20 completed@30",
			w2: "completed@41", w3: "completed@1",
		} {
			if got, err := w.end(); got != want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		if n := c.ConnStats().Connects; n != 4 {
			t.Errorf("%d connects", n)
		}
	})
}

func TestSlowWatchConflates(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		var seen []int64
		resume := make(chan struct{})
		w := begin(t, func() (int, error) {
			for st, err := range j.Watch(t.Context()) {
				if err != nil {
					return 0, err
				}
				seen = append(seen, st.Version)
				<-resume
			}
			return 0, nil
		})
		for v := range int64(1000) {
			p.status("j1", v+1, "processing")
			synctest.Wait()
		}
		resume <- struct{}{}
		synctest.Wait()
		p.status("j1", 2000, "completed")
		close(resume)
		if _, err := w.end(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(seen, []int64{1, 1000, 2000}) {
			t.Errorf("saw %v", seen)
		}
	})
}

func TestWatchesShareOneSubscription(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		ctx1, stop1 := context.WithCancel(t.Context())
		ctx2, stop2 := context.WithCancel(t.Context())
		w1 := collect(t, c.Job("j1").Watch(ctx1, After(5)))
		p.subscribed()
		w2 := collect(t, c.Job("j1").Watch(ctx2, After(9)))
		p.wantNothing("the second watch needs nothing more")
		w3 := collect(t, c.Job("j1").Watch(ctx1))
		if refs := p.subscribed(); !slices.Equal(refs, []string{"j1"}) {
			t.Errorf("a watch from the beginning asks again: %v", refs)
		}
		p.status("j1", 5, "pending")
		synctest.Wait()
		p.status("j1", 7, "processing")
		synctest.Wait()
		w4 := collect(t, c.Job("j1").Watch(ctx2))
		p.wantNothing("the fourth finds the latest document here")
		stop1()
		for w, want := range map[*pending[string]]string{w1: "processing@7", w3: "pending@5 processing@7"} {
			if got, err := w.end(); got != want || !errors.Is(err, context.Canceled) {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		}
		p.wantNothing("two still watch")
		stop2()
		if got, _ := w2.end(); got != "" {
			t.Errorf("after 9: got %q", got)
		}
		if got, _ := w4.end(); got != "processing@7" {
			t.Errorf("late: got %q", got)
		}
		if u := p.want(frame.Unsubscribe); string(u.Jobs) != `["j1"]` {
			t.Errorf("got %s", u.raw)
		}
		w5 := collect(t, c.Job("j1").Watch(t.Context()))
		if refs := p.subscribed(); !slices.Equal(refs, []string{"j1"}) {
			t.Errorf("a new watch starts over: %v", refs)
		}
		p.status("j1", 8, "cancelled")
		if got, err := w5.end(); got != "cancelled@8" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestJobWatchAndWait(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		for _, err := range j.Watch(canceled()) {
			t.Logf("a watch in a context that had ended: %v", err)
			break
		}
		if u := p.want(frame.Unsubscribe); string(u.Jobs) != `["j1"]` {
			t.Errorf("the last watch left: got %s", u.raw)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := j.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		p.subscribed()
		p.want(frame.Unsubscribe)
		w := begin(t, func() (Status, error) { return j.Wait(t.Context()) })
		p.subscribed()
		p.send(`{"type":"status","version":9,"job":{"jobId":"j1","type":"t","state":"failed","attempt":3,"maxAttempts":3,"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:05Z","error":{"code":"boom","message":"m","retryable":false}}}`)
		st, err := w.end()
		if err != nil || st.State != job.Failed || st.Error == nil || st.Error.Code != "boom" {
			t.Errorf("a failed job is no error of Wait: %+v, %v", st, err)
		}
		quiet := c.testSubmitted(t, p, "j2", NoWatch())
		w2 := collect(t, quiet.Watch(t.Context()))
		p.subscribed()
		p.status("j2", 3, "completed")
		if got, err := w2.end(); got != "completed@3" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestEndedJobIsReplayed(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		p.status("j1", 4, "completed")
		for range 2 {
			if got, err := collect(t, j.Watch(t.Context())).end(); got != "completed@4" || err != nil {
				t.Errorf("got %q, %v", got, err)
			}
		}
		p.wantNothing("nobody asks the server again")
	})
}

func TestWatchErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		ids := []string{"gone", "full", "later", "fine"}
		ws := map[string]*pending[string]{}
		p.drop() // so that all four share a frame
		synctest.Wait()
		for _, id := range ids {
			ws[id] = collect(t, c.Job(id).Watch(t.Context()))
		}
		synctest.Wait()
		p = s.next()
		seen := map[string]bool{}
		for len(seen) < 4 {
			g := p.want(frame.Subscribe)
			var jobs []string
			for _, id := range g.refs() {
				seen[id] = true
				jobs = append(jobs, map[string]string{
					"gone": `{"jobId":"gone","error":"not_found"}`, "full": `{"jobId":"full","error":"limit_exceeded"}`,
					"later": `{"jobId":"later","error":"unavailable"}`, "fine": `{"jobId":"fine","version":3}`,
				}[id])
			}
			p.send(`{"type":"subscribed","id":%q,"jobs":[%s]}`, g.ID, strings.Join(jobs, ","))
		}
		if _, err := ws["gone"].end(); !errors.Is(err, ErrNotFound) {
			t.Errorf("gone: %v", err)
		}
		if _, err := ws["full"].end(); CodeOf(err) != code.LimitExceeded {
			t.Errorf("full: %v", err)
		}
		ws["later"].running("unavailable is worth another try")
		if refs := p.subscribed(); !slices.Equal(refs, []string{"later"}) {
			t.Errorf("asked again for %v", refs)
		}
		p.status("later", 5, "completed")
		p.status("fine", 6, "completed")
		for _, id := range []string{"later", "fine"} {
			if got, err := ws[id].end(); !strings.HasPrefix(got, "completed@") || err != nil {
				t.Errorf("%s: %q, %v", id, got, err)
			}
		}
		for _, id := range []string{"", "a b", strings.Repeat("x", 200), "\xff", "a/b"} {
			if _, err := collect(t, c.Job(id).Watch(t.Context())).end(); !errors.Is(err, ErrNotFound) {
				t.Errorf("%q: %v", id, err)
			}
		}
		p.wantNothing("what is no ID is not sent")
	})
}

func TestSubscriptionsAreBatched(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		p.drop()
		synctest.Wait()
		const n = 2500
		ws := map[string]*pending[string]{}
		for i := range n {
			id := fmt.Sprintf("j%04d", i)
			ws[id] = collect(t, c.Job(id).Watch(t.Context()))
		}
		synctest.Wait()
		p = s.next()
		var sizes []int
		all := map[string]bool{}
		for len(all) < n {
			refs := p.subscribed()
			sizes = append(sizes, len(refs))
			for _, r := range refs {
				all[r] = true
			}
		}
		if !slices.Equal(sizes, []int{1000, 1000, 500}) {
			t.Errorf("batches of %v", sizes)
		}
		for id := range ws {
			p.status(id, 2, "completed")
		}
		for id, w := range ws {
			if got, err := w.end(); got != "completed@2" || err != nil {
				t.Fatalf("%s: %q, %v", id, got, err)
			}
		}
	})
}

// One job that makes the server refuse a subscribe frame must not fail the other jobs of the frame.
func TestSubscribeErrorIsolatesTheCulprit(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		p.drop()
		synctest.Wait()
		ws := map[string]*pending[string]{}
		for i := range 50 {
			id := fmt.Sprintf("j%d", i)
			ws[id] = collect(t, c.Job(id).Watch(t.Context()))
		}
		synctest.Wait()
		p = s.next()
		first := p.want(frame.Subscribe)
		p.sendError(first.ID, code.RateLimited, `,"retryAfter":3`)
		start := time.Now()
		frames := 0
		for ok := map[string]bool{}; len(ok) < 49; frames++ {
			g := p.want(frame.Subscribe)
			if frames == 0 && time.Since(start) < 3*time.Second {
				t.Error("retryAfter was not kept")
			}
			if slices.Contains(g.refs(), "j7") {
				p.sendError(g.ID, code.InvalidFrame, "")
				continue
			}
			for _, r := range g.refs() {
				ok[r] = true
			}
			p.send(`{"type":"subscribed","id":%q,"jobs":[]}`, g.ID)
		}
		if frames > 20 {
			t.Errorf("%d frames to find one culprit among 50", frames)
		}
		synctest.Wait()
		select {
		case b := <-p.frames:
			if g := string(b); strings.Contains(g, "j7") {
				id := strings.Split(g, `"`)[7]
				p.sendError(id, code.InvalidFrame, "")
			}
		default:
		}
		if _, err := ws["j7"].end(); CodeOf(err) != code.InvalidFrame {
			t.Errorf("the culprit: %v", err)
		}
		for id := range maps.Keys(ws) {
			if id != "j7" {
				p.status(id, 2, "completed")
				if got, err := ws[id].end(); got != "completed@2" || err != nil {
					t.Fatalf("%s: %q, %v", id, got, err)
				}
			}
		}
	})
}

func TestWatchWithUnreadableDocument(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		w := collect(t, j.Watch(t.Context()))
		p.send(`{"type":"status","version":3,"job":{"jobId":"j1","state":"completed","attempt":"many"}}`)
		if _, err := w.end(); err == nil || !strings.Contains(err.Error(), "version 3") {
			t.Errorf("got %v", err)
		}
	})
}

// TestWatchTakesLowerVersionsAfterAReset: versions seen no longer count once the server's log does not have them.
func TestWatchTakesLowerVersionsAfterAReset(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		w := collect(t, c.Job("j1").Watch(t.Context(), After(1000)))
		g := p.want(frame.Subscribe)
		p.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"j1","version":40,"reset":true}]}`, g.ID)
		p.status("j1", 40, "processing")
		synctest.Wait()
		p.send(`{"type":"subscribed","jobs":[{"jobId":"j1","version":30,"reset":true}]}`)
		p.status("j1", 30, "processing")
		synctest.Wait()
		p.drop()
		p = s.next()
		if refs := p.subscribed(); !slices.Equal(refs, []string{"j1@30"}) {
			t.Errorf("subscribed to %v", refs)
		}
		p.status("j1", 29, "retrying")
		p.status("j1", 31, "completed")
		got, err := w.end()
		if want := "processing@40 processing@30 completed@31"; got != want || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	})
}
