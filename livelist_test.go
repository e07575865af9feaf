package ackwire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// listReader is a loop over WatchList: what it was told, such as "listed a@1 b@2 -c".
type listReader struct {
	cancel context.CancelFunc
	told   chan string
	err    error
}

func watchList(t *testing.T, c *Client, o ListOptions) *listReader {
	ctx, cancel := context.WithCancel(t.Context())
	w := &listReader{cancel: cancel, told: make(chan string, 1000)}
	go func() {
		defer close(w.told)
		for u, err := range c.WatchList(ctx, o) {
			if err != nil {
				w.err = err
				return
			}
			var text []string
			if u.Listed {
				text = append(text, "listed")
			}
			for _, st := range u.Jobs {
				text = append(text, fmt.Sprintf("%s@%d", st.JobID, st.Version))
			}
			for _, id := range u.Left {
				text = append(text, "-"+id)
			}
			if u.Missed > 0 {
				text = append(text, fmt.Sprintf("missed %d", u.Missed))
			}
			w.told <- strings.Join(text, " ")
		}
	}()
	return w
}

// want compares all that the loop was told since.
func (w *listReader) want(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	var got []string
	for {
		select {
		case text, open := <-w.told:
			if open {
				got = append(got, text)
				continue
			}
		default:
		}
		break
	}
	if strings.Join(got, "; ") != strings.Join(want, "; ") {
		t.Errorf("%s: told %q, want %q", what, got, want)
	}
}

// watched answers the next watchList frame, and returns it.
func (p *peer) watched() got {
	p.t.Helper()
	g := p.want(frame.WatchList)
	p.send(`{"type":"listWatched","id":%q,"list":%q}`, g.ID, g.List)
	return g
}

// TestWatchList follows a list over changes, an overflow, a lost connection, and to its end.
func TestWatchList(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		page := `{"jobs":[],"asOf":"2026-01-01T00:00:00Z"}`
		queries := make(chan string, 100)
		s.query = func(w http.ResponseWriter, r *http.Request) {
			queries <- r.URL.RawQuery
			_, _ = w.Write([]byte(page))
		}
		s.get = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"30"`)
			_, _ = w.Write([]byte(document(r.PathValue("id"), "completed")))
		}
		c, p := s.dial()
		page = fmt.Sprintf(`{"jobs":[%s,%s],"versions":[3,2],"asOf":"2026-01-01T00:00:00Z"}`,
			document("b", "pending"), document("a", "processing"))
		w := watchList(t, c, ListOptions{States: []job.State{job.Pending, job.Processing}, Mine: true, Limit: 3})
		g := p.watched()
		if !strings.Contains(g.raw, `"filter":{"mine":["true"],"state":["pending","processing"]}`) {
			t.Errorf("it asks for %s", g.raw)
		}
		w.want(t, "the listing", "listed b@3 a@2")
		if q := <-queries; q != "limit=3&mine=true&state=pending&state=processing" {
			t.Errorf("it lists with %s", q)
		}
		p.send(`{"type":"listChanged","list":%q,"rows":[{"version":2,"job":%s},{"version":9,"job":%s}],"left":[{"jobId":"b","version":8}]}`,
			g.List, document("a", "processing"), document("c", "pending"))
		w.want(t, "what is news", "c@9 -b")
		p.send(`{"type":"listChanged","list":%q,"rows":[{"jobId":"large","version":30}]}`, g.List)
		w.want(t, "a large document is asked for", "large@30")
		p.send(`{"type":"listChanged","list":"another","rows":[{"jobId":"x","version":1}]}`)
		p.send(`{"type":"listChanged","list":%q,"rows":[{"version":1}]}`, g.List)
		w.want(t, "what makes no sense")

		began := time.Now()
		for range 5 {
			p.send(`{"type":"listChanged","list":%q,"again":true,"missed":7}`, g.List)
		}
		time.Sleep(3 * time.Second)
		w.want(t, "too much has changed", "listed b@3 a@2 missed 35")
		if n := len(queries); n != 1 || time.Since(began) < time.Second {
			t.Errorf("listed %d times", n)
		}
		_ = p.ws.CloseNow()
		p = s.next()
		g = p.watched()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		w.want(t, "after a reconnect", "listed b@3 a@2")
		p.send(`{"type":"listUnwatched","list":%q,"error":"forbidden"}`, g.List)
		w.want(t, "its end")
		if e, ok := errors.AsType[*Error](w.err); !ok || e.Code != "forbidden" {
			t.Errorf("it ends with %v", w.err)
		}
	})
}

// TestWatchListEnds: what is refused, and who ends it.
func TestWatchListEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.query = func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"jobs":[],"asOf":"2026-01-01T00:00:00Z"}`))
		}
		c, p := s.dial()
		for _, o := range []ListOptions{{Cursor: "x"}, {Limit: 501}, {Limit: -1}} {
			w := watchList(t, c, o)
			w.want(t, "refused by the client")
			if w.err == nil {
				t.Errorf("%+v: no error", o)
			}
		}
		w := watchList(t, c, ListOptions{})
		g := p.want(frame.WatchList)
		p.send(`{"type":"error","id":%q,"code":"unknown_frame","title":"x","retryable":false}`, g.ID)
		w.want(t, "a server that does not know lists")
		if e, ok := errors.AsType[*Error](w.err); !ok || e.Code != "unknown_frame" {
			t.Errorf("it ends with %v", w.err)
		}
		w = watchList(t, c, ListOptions{})
		g = p.want(frame.WatchList)
		p.send(`{"type":"error","id":%q,"code":"unavailable","title":"x","retryable":true,"retryAfter":1}`, g.ID)
		g = p.watched()
		w.want(t, "it tries again", "listed")
		w.cancel()
		if got := p.want(frame.UnwatchList); got.List != g.List {
			t.Errorf("it ends %s", got.raw)
		} else {
			p.send(`{"type":"listUnwatched","id":%q,"list":%q}`, got.ID, got.List)
		}
		w.want(t, "it was cancelled")
		if !errors.Is(w.err, context.Canceled) {
			t.Errorf("it ends with %v", w.err)
		}
		w = watchList(t, c, ListOptions{})
		p.watched()
		w.want(t, "another", "listed")
		_ = c.Close()
		w.want(t, "the client has ended")
		if !errors.Is(w.err, ErrClosed) || len(c.lists) != 0 {
			t.Errorf("it ends with %v, %d lists", w.err, len(c.lists))
		}
	})
}

// TestAListThatIsNotReadIsBounded: what the loop body does not take is dropped, and the list is asked for again.
func TestAListThatIsNotReadIsBounded(t *testing.T) {
	for name, size := range map[string]int{"jobs": 1, "bytes": 64 << 10} {
		l := &liveList{pending: map[string]*listChange{}}
		for i := range 10_000 {
			l.putLocked(fmt.Sprint(i), &listChange{version: 1, raw: make([]byte, size)})
			if len(l.order) > maxListPending || l.bytes > maxListBytes || len(l.pending) != len(l.order) {
				t.Fatalf("%s: %d jobs, %d bytes", name, len(l.order), l.bytes)
			}
		}
		if !l.again || l.missed+int64(len(l.order)) != 10_000 {
			t.Errorf("%s: again %v, %d missed", name, l.again, l.missed)
		}
	}
}
