package ackwire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// subscribedMine answers the subscription to all jobs.
func (p *peer) subscribedMine() {
	p.t.Helper()
	g := p.want(frame.Subscribe)
	if !strings.Contains(g.raw, `"mine":true`) || len(g.Jobs) > 0 {
		p.t.Fatalf("got %s", g.raw)
	}
	p.send(`{"type":"subscribed","id":%q,"jobs":[],"mine":true}`, g.ID)
}

func (p *peer) mine(jobID string, version int64, state string) {
	p.send(`{"type":"status","version":%d,"mine":true,"job":%s}`, version, document(jobID, state))
}

func TestWatchMine(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		ctx, cancel := context.WithCancel(t.Context())
		w := collect(t, c.WatchMine(ctx))
		p.subscribedMine()
		p.mine("a", 3, "pending")
		p.status("a", 4, "completed") // of a job without a watch
		p.mine("b", 2, "processing")
		synctest.Wait()
		p.mine("a", 3, "pending")
		p.mine("a", 9, "completed")
		p.mine("a", 12, "processing")
		synctest.Wait()
		again := collect(t, c.WatchMine(ctx))
		synctest.Wait()
		p.wantNothing("a second loop shares the subscription")
		p.mine("c", 20, "failed")
		synctest.Wait()
		cancel()
		if got, err := w.end(); !strings.HasPrefix(got, "pending@3 processing@2 ") ||
			!strings.HasSuffix(got, "processing@12 failed@20") || !errors.Is(err, context.Canceled) {
			t.Errorf("got %q, %v", got, err)
		}
		if got, err := again.end(); got != "failed@20" || !errors.Is(err, context.Canceled) {
			t.Errorf("the second got %q, %v", got, err)
		}
		g := p.want(frame.Unsubscribe)
		p.send(`{"type":"unsubscribed","id":%q,"jobs":[],"mine":true}`, g.ID)
		synctest.Wait()
		if c.mine != nil {
			t.Error("the subscription is still there")
		}
	})
}

// TestWatchMineClosesItsGap: after a lost connection the client asks for the jobs that have changed, and yields only
// documents that were not seen.
func TestWatchMineClosesItsGap(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		ctx, cancel := context.WithCancel(t.Context())
		w := collect(t, c.WatchMine(ctx))
		p.subscribedMine()
		p.mine("a", 3, "pending")
		synctest.Wait()
		s.query = func(rw http.ResponseWriter, r *http.Request) {
			if q := r.URL.Query(); q.Get("mine") != "true" || q.Get("updatedAfter") == "" {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			_, _ = fmt.Fprintf(rw, `{"jobs":[%s,%s],"asOf":"2026-01-02T03:04:05Z"}`, document("a", "pending"),
				document("b", "completed"))
		}
		s.get = func(rw http.ResponseWriter, r *http.Request) {
			if r.PathValue("id") != "b" {
				t.Errorf("asked for %s, which has not changed", r.URL.Path)
			}
			rw.Header().Set("ETag", `"8"`)
			_, _ = rw.Write([]byte(document("b", "completed")))
		}
		p.drop()
		p = s.next()
		p.welcome()
		p.subscribedMine()
		time.Sleep(time.Second)
		p.mine("b", 8, "completed")
		p.mine("a", 11, "processing")
		synctest.Wait()
		cancel()
		if got, _ := w.end(); got != "pending@3 completed@8 processing@11" {
			t.Errorf("got %q", got)
		}
	})
}

// TestAWatchAgainBehindWatchMine: while all jobs are watched a server sends no version twice, and it counts what
// earlier watches of single jobs have brought. A second watch of such a job takes another connection, which brings it.
func TestAWatchAgainBehindWatchMine(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		before := collect(t, c.Job("a").Watch(t.Context()))
		p.subscribed()
		p.status("a", 3, "completed")
		if got, err := before.end(); got != "completed@3" || err != nil {
			t.Fatalf("got %q, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		all := collect(t, c.WatchMine(ctx))
		p.subscribedMine()
		synctest.Wait()
		other := collect(t, c.Job("b").Watch(t.Context())) // one that this connection has not brought
		p.subscribed()
		p.mine("b", 4, "completed")
		if got, err := other.end(); got != "completed@4" || err != nil {
			t.Errorf("the other job got %q, %v", got, err)
		}

		again := collect(t, c.Job("a").Watch(t.Context()))
		asked := time.Now()
		p = s.next()
		if took := time.Since(asked); took > time.Second {
			t.Fatalf("another connection was opened after %v", took)
		}
		for range 2 {
			g := p.want(frame.Subscribe)
			if strings.Contains(g.raw, `"mine":true`) {
				p.send(`{"type":"subscribed","id":%q,"jobs":[],"mine":true}`, g.ID)
				continue
			}
			if refs := g.refs(); !slices.Equal(refs, []string{"a"}) {
				t.Errorf("subscribed to %v", refs)
			}
			p.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"a","version":3}]}`, g.ID)
		}
		p.mine("a", 3, "completed")
		if got, err := again.end(); got != "completed@3" || err != nil {
			t.Errorf("the second watch got %q, %v", got, err)
		}
		third := collect(t, c.Job("a").Watch(t.Context())) // from what WatchMine has
		if got, err := third.end(); got != "completed@3" || err != nil {
			t.Errorf("the third watch got %q, %v", got, err)
		}
		if n := c.ConnStats(); n.Connects != 2 || n.Goaways != 0 {
			t.Errorf("%d connects, %d goaways", n.Connects, n.Goaways)
		}
		synctest.Wait() // the loop takes it
		cancel()
		if got, _ := all.end(); got != "completed@4 completed@3" {
			t.Errorf("all jobs got %q", got)
		}
	})
}

func TestWatchMineThatIsRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		w := collect(t, c.WatchMine(t.Context()))
		p.sendError(p.want(frame.Subscribe).ID, code.Unavailable, "")
		p.sendError(p.want(frame.Subscribe).ID, code.LimitExceeded, "")
		_, err := w.end()
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != code.LimitExceeded {
			t.Errorf("got %v", err)
		}
		w = collect(t, c.WatchMine(t.Context()))
		p.subscribedMine()
		_ = c.Close()
		if _, err := w.end(); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := collect(t, c.WatchMine(t.Context())).end(); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
}

func TestALoopThatIsTooSlow(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		held := make(chan struct{})
		w := begin(t, func() (int, error) {
			n := 0
			for _, err := range c.WatchMine(t.Context()) {
				if err != nil {
					return n, err
				}
				<-held
				n++
			}
			return n, nil
		})
		p.subscribedMine()
		for i := range maxMinePending + 10 {
			p.mine(fmt.Sprint("job", i), int64(i+1), "pending")
		}
		synctest.Wait()
		close(held)
		if n, err := w.end(); !errors.Is(err, ErrTooSlow) || n < maxMinePending {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

// TestALoopThatIsTooSlowEnds: changes that come while it takes what waits do not put its end off.
func TestALoopThatIsTooSlowEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		n := 0
		w := begin(t, func() (int, error) {
			for _, err := range c.WatchMine(t.Context()) {
				if err != nil {
					return n, err
				}
				n++
				for i := range 2 {
					c.bring(fmt.Sprint("job", n, "/", i), int64(n), 0)
				}
				if n > 3*maxMinePending {
					return n, errors.New("it goes on")
				}
			}
			return n, nil
		})
		p.subscribedMine()
		c.bring("first", 1, 0)
		if n, err := w.end(); !errors.Is(err, ErrTooSlow) || n < maxMinePending {
			t.Errorf("it has read %d documents, %v", n, err)
		}
	})
}

// TestTheBytesOfAllJobs: a loop that does not take documents holds a bounded number of bytes of them.
func TestTheBytesOfAllJobs(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		held := make(chan struct{})
		w := begin(t, func() (n int, err error) {
			for st, err := range c.WatchMine(t.Context()) {
				if err != nil {
					return n, err
				}
				<-held
				n += len(st.Raw)
			}
			return n, nil
		})
		p.subscribedMine()
		const each = 2 << 20
		for i := range 2 * maxMineBytes / each {
			c.bring(fmt.Sprint("job", i), int64(i+1), each)
		}
		close(held)
		if n, err := w.end(); !errors.Is(err, ErrTooSlow) || n < maxMineBytes || n > maxMineBytes+3*each {
			t.Errorf("it has read %d bytes, %v", n, err)
		}
	})
}

// TestRememberedDocumentsHaveABoundInBytes: documents that are not remembered any more come over another connection.
func TestRememberedDocumentsHaveABoundInBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		all := begin(t, func() (n int, err error) {
			for _, err := range c.WatchMine(t.Context()) {
				if err != nil {
					return n, err
				}
				n++
			}
			return n, nil
		})
		p.subscribedMine()
		const each = 2 << 20
		for i := range maxMineBytes/each + 2 {
			c.bring(fmt.Sprint("job", i), int64(i+1), each)
			synctest.Wait() // the loop takes it
		}
		c.bring("late", 1000, each)
		c.mu.Lock()
		held, sum := c.mine.bytes, bytesOf(c.mine.seen)+bytesOf(c.mine.older)
		c.mu.Unlock()
		if held != sum || held > maxMineBytes || held < each {
			t.Errorf("%d bytes are held, and %d counted", sum, held)
		}
		late := collect(t, c.Job("late").Watch(t.Context())) // is remembered
		if got, err := late.end(); got != "completed@1000" || err != nil {
			t.Errorf("a job that is remembered got %q, %v", got, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		newer := collect(t, c.Job("job1").Watch(ctx, After(2))) // of a job that was dropped, whose version it has
		p.subscribed()
		cancel()
		if got, _ := newer.end(); got != "" {
			t.Errorf("what comes after the last version is %q", got)
		}
		p.want(frame.Unsubscribe)
		first := collect(t, c.Job("job0").Watch(t.Context()))
		p = s.next()
		for range 2 {
			if g := p.want(frame.Subscribe); strings.Contains(g.raw, `"mine":true`) {
				p.send(`{"type":"subscribed","id":%q,"jobs":[],"mine":true}`, g.ID)
			} else {
				p.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"job0","version":1}]}`, g.ID)
			}
		}
		p.mine("job0", 1, "completed")
		if got, err := first.end(); got != "completed@1" || err != nil {
			t.Errorf("a job that was dropped got %q, %v", got, err)
		}
		_ = c.Close()
		if _, err := all.end(); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// bring has the client receive the last status of a job, whose document has so many bytes more than usual. It does not
// come over the connection, which would take long.
func (c *Client) bring(jobID string, version int64, size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.onMineLocked(jobID, version, []byte(document(jobID, "completed")+strings.Repeat(" ", size)))
}

// TestARenewedTokenMayEndWatches: the server tells, by frames without an ID, what a renewed token does not cover.
func TestARenewedTokenMayEndWatches(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		all := collect(t, c.WatchMine(t.Context()))
		p.subscribedMine()
		one := collect(t, c.Job("a").Watch(t.Context()))
		g := p.want(frame.Subscribe)
		p.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"a","version":3}]}`, g.ID)
		p.status("a", 3, "processing")
		synctest.Wait()
		p.send(`{"type":"subscribed","jobs":[{"jobId":"a","error":"not_found"}]}`)
		p.send(`{"type":"unsubscribed","jobs":[],"mine":true,"error":"forbidden"}`)
		var e *Error
		if got, err := one.end(); got != "processing@3" || !errors.As(err, &e) || e.Code != code.NotFound {
			t.Errorf("the job's watch got %q, %v", got, err)
		}
		if got, err := all.end(); got != "" || !errors.As(err, &e) || e.Code != code.Forbidden {
			t.Errorf("the watch of all jobs got %q, %v", got, err)
		}
		p.wantNothing("neither is asked for again")
	})
}
