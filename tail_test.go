package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/stream"
)

// streamRefs reads the streams that a subscribe or submit asks for of a job, as "name" or "name@run:at".
func streamRefs(t *testing.T, g got, jobID string) []string {
	t.Helper()
	raw := json.RawMessage(nil)
	if g.Type == frame.Submit {
		var f frame.ClientFrame
		if err := json.Unmarshal([]byte(g.raw), &f); err != nil {
			t.Fatal(err)
		}
		raw = f.Streams
	} else {
		var refs []frame.JobRef
		if err := json.Unmarshal(g.Jobs, &refs); err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(refs, func(r frame.JobRef) bool { return r.JobID == jobID })
		if i < 0 {
			t.Fatalf("%s is not in %s", jobID, g.raw)
		}
		raw = refs[i].Streams
	}
	if raw == nil {
		return nil
	}
	refs, err := frame.ParseStreams(raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	out := []string{}
	for _, r := range refs {
		if r.Run > 0 {
			r.Stream += fmt.Sprintf("@%d:%d", r.Run, r.At)
		}
		out = append(out, r.Stream)
	}
	return out
}

// wantStreams answers the client's next subscribe, which must ask for these streams of j1.
func (p *peer) wantStreams(refs ...string) {
	p.t.Helper()
	g := p.want(frame.Subscribe)
	if got := streamRefs(p.t, g, "j1"); !slices.Equal(got, refs) {
		p.t.Errorf("%s asks for %q, want %q", g.raw, got, refs)
	}
	p.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"j1","version":1}]}`, g.ID)
}

// chunk sends a piece of the text of j1.
func (p *peer) chunk(run, from int, text, more string) {
	p.t.Helper()
	p.send(`{"type":"chunk","jobId":"j1","stream":"tokens","kind":"text","run":%d,"from":%d,"text":%q%s}`, run, from, text,
		more)
}

// readAll reads a stream to its end: the text of each run, with "|" where another run has begun.
func readAll(t *testing.T, j *Job, name string, opts ...StreamOption) *pending[string] {
	return begin(t, func() (string, error) {
		var b strings.Builder
		var last error
		for c, err := range j.Stream(context.Background(), name, opts...) {
			if err != nil {
				last = err
				continue
			}
			if c.Reset {
				b.WriteByte('|')
			}
			b.Write(c.appendLines(nil))
		}
		return b.String(), last
	})
}

func TestAStreamIsReadToItsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		r := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "Hel", "")
		p.chunk(1, 3, "lo ✓", "")
		p.chunk(1, 9, "!", "")
		r.running("the stream has not ended")
		p.send(`{"type":"chunk","jobId":"j1","stream":"tokens","kind":"text","run":1,"from":10,"end":true,"total":10}`)
		if got, err := r.end(); got != "Hello ✓!" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		p.want(frame.Unsubscribe)
		p.wantNothing("nobody reads it")
		if len(c.subs) != 0 {
			t.Errorf("subscriptions left: %v", c.subs)
		}
	})
}

func TestASubmitAsksForStreams(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		sub := c.testSubmit(t, WithStreams("tokens", "rows"))
		g := p.want(frame.Submit)
		if got := streamRefs(t, g, ""); !slices.Equal(got, []string{"tokens", "rows"}) {
			t.Errorf("%s asks for %q", g.raw, got)
		}
		p.sendAck(g.ID, "j1")
		p.chunk(1, 0, "early", "")
		p.send(`{"type":"chunk","jobId":"j1","stream":"rows","kind":"json","run":1,"from":0,"items":[{"a": 1},[2]]}`)
		p.status("j1", 9, "completed")
		p.chunk(1, 5, " and late", `,"end":true,"total":14`)
		p.send(`{"type":"chunk","jobId":"j1","stream":"rows","kind":"json","run":1,"from":2,"end":true,"total":2}`)
		j, err := sub.end()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got, err := readAll(t, j, "tokens").end(); got != "early and late" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := readAll(t, j, "rows").end(); got != "{\"a\":1}\n[2]\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if st, err := j.Wait(t.Context()); st.Version != 9 || err != nil {
			t.Errorf("%+v, %v", st, err)
		}
		p.want(frame.Unsubscribe)
		p.wantNothing("all came with the submit")
		again := readAll(t, j, "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "early and late", `,"end":true,"total":14`)
		if got, err := again.end(); got != "early and late" || err != nil {
			t.Errorf("a second time: %q, %v", got, err)
		}
	})
}

// TestAStreamOutlivesItsJob: the end of the job is no end of its streams, not even over a lost connection.
func TestAStreamOutlivesItsJob(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1", WithStreams("tokens"))
		r := readAll(t, j, "tokens")
		w := collect(t, j.Watch(t.Context()))
		p.chunk(1, 0, "ab", "")
		p.status("j1", 7, "completed")
		if got, err := w.end(); got != "completed@7" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		p.chunk(1, 2, "cd", "")
		r.running("the stream has not ended")
		p.drop()
		p = s.next()
		if g := p.want(frame.Subscribe); !slices.Equal(g.refs(), []string{"j1@7"}) ||
			!slices.Equal(streamRefs(t, g, "j1"), []string{"tokens@1:4"}) {
			t.Errorf("%s", g.raw)
		}
		// A watch that begins now is told of the end, too.
		late := collect(t, c.Job("j1").Watch(t.Context()))
		p.wantStreams("tokens@1:4")
		p.status("j1", 7, "completed")
		if got, err := late.end(); got != "completed@7" || err != nil {
			t.Errorf("late: %q, %v", got, err)
		}
		p.chunk(1, 4, "e", `,"end":true`)
		if got, err := r.end(); got != "abcde" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if len(c.subs) != 0 {
			t.Errorf("subscriptions left: %v", c.subs)
		}
	})
}

func TestAnotherRunVoidsWhatWasRead(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		r := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "lost", "")
		synctest.Wait()
		p.chunk(2, 0, "", `,"reset":true`)
		synctest.Wait()
		p.chunk(1, 4, "of the lost run", "")
		p.chunk(2, 0, "kept", "")
		p.chunk(2, 4, "", `,"end":true`)
		if got, err := r.end(); got != "lost|kept" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		// A reader that has nothing of the lost run is not told of it.
		fresh := readAll(t, c.Job("j1"), "tokens", FromCursor(stream.Cursor{Dispatch: 1}))
		p.want(frame.Unsubscribe)
		p.wantStreams("tokens@1:0")
		p.chunk(2, 0, "kept", `,"reset":true,"end":true`)
		if got, err := fresh.end(); got != "kept" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		came := readAll(t, c.Job("j1"), "tokens", FromCursor(stream.Cursor{Dispatch: 1, At: 4}))
		p.want(frame.Unsubscribe)
		p.wantStreams("tokens@1:4")
		p.chunk(2, 0, "kept", `,"reset":true,"end":true`)
		if got, err := came.end(); got != "|kept" || err != nil {
			t.Errorf("from a cursor: %q, %v", got, err)
		}
	})
}

// TestASlowReaderLeavesTheStream: a reader that does not read holds a bounded part of the stream, and neither statuses
// nor other readers wait for it.
func TestASlowReaderLeavesTheStream(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1", WithStreams("tokens"))
		piece := strings.Repeat("x", 32<<10)
		at := 0
		for at < tailBuffer {
			p.chunk(1, at, piece, "")
			at += len(piece)
		}
		p.wantStreams() // the list of what it still follows is empty
		p.chunk(1, at, "was under way", "")
		p.status("j1", 3, "processing")
		synctest.Wait()
		held := j.tails[0]
		if held.size != tailBuffer || held.sub != nil {
			t.Errorf("it holds %d bytes, sub %v", held.size, held.sub)
		}
		next, stop := pull(j.Stream(t.Context(), "tokens"))
		defer stop()
		if c, err, ok := next(); len(c.Text) != at || c.From != 0 || err != nil || !ok {
			t.Errorf("%d bytes from %d, %v, %t", len(c.Text), c.From, err, ok)
		}
		p.wantStreams(fmt.Sprintf("tokens@1:%d", at))
		p.chunk(1, at, "was under way", `,"end":true`)
		if c, err, ok := next(); c.Text != "was under way" || err != nil || !ok {
			t.Errorf("%+v, %v, %t", c, err, ok)
		}
		if _, _, ok := next(); ok {
			t.Error("it goes on behind its end")
		}
	})
}

func pull(seq func(func(Chunk, error) bool)) (func() (Chunk, error, bool), func()) {
	type item struct {
		c   Chunk
		err error
	}
	items, quit, done := make(chan item), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer close(items)
		for c, err := range seq {
			select {
			case items <- item{c, err}:
			case <-quit:
				return
			}
		}
	}()
	return func() (Chunk, error, bool) { i, ok := <-items; return i.c, i.err, ok }, func() { close(quit); <-done }
}

// TestReadersShareAStream: a second reader begins at the beginning, and the first one is sent nothing twice.
func TestReadersShareAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		first := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "abc", "")
		synctest.Wait()
		second := readAll(t, c.Job("j1"), "tokens")
		synctest.Wait()
		p.chunk(1, 3, "d", "") // sent before the server has read the subscribe
		p.wantStreams("tokens")
		rows := readAll(t, c.Job("j1"), "rows")
		p.wantStreams("rows", "tokens")
		p.chunk(1, 0, "abc", "")
		p.chunk(1, 3, "de", `,"end":true`)
		for _, r := range []*pending[string]{first, second} {
			if got, err := r.end(); got != "abcde" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		}
		p.send(`{"type":"chunk","jobId":"j1","stream":"rows","run":1,"from":0,"end":true}`)
		if got, err := rows.end(); got != "" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestAMissingPieceIsAskedForAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		r := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "ab", "")
		p.chunk(1, 4, "ef", "")
		p.chunk(1, 6, "gh", "")
		p.wantStreams("tokens@1:2")
		p.wantNothing("one question is enough")
		p.chunk(1, 2, "cdefgh", `,"end":true`)
		if got, err := r.end(); got != "abcdefgh" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// TestAWatchBesideAStream: with WatchMine the server sends no document twice, and a watch of a job whose stream is read
// begins with the one that has come.
func TestAWatchBesideAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		mine := collect(t, c.WatchMine(t.Context()))
		g := p.want(frame.Subscribe)
		p.send(`{"type":"subscribed","id":%q,"jobs":[],"mine":true}`, g.ID)
		p.send(`{"type":"status","version":5,"mine":true,"job":%s}`, document("j1", "completed"))
		synctest.Wait()
		r := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		w := collect(t, c.Job("j1").Watch(t.Context()))
		if got, err := w.end(); got != "completed@5" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		p.chunk(1, 0, "abc", `,"end":true`)
		if got, err := r.end(); got != "abc" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_ = c.Close()
		_, _ = mine.end()
	})
}

func TestHowStreamsFail(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		for name, o := range map[string]StreamOption{
			"Tokens": FromCursor(stream.Cursor{}), "tokens": FromCursor(stream.Cursor{At: 3}),
		} {
			_, err := readAll(t, c.Job("j1"), name, o).end()
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != code.InvalidFrame {
				t.Errorf("%s: %v", name, err)
			}
		}
		gone := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		w := collect(t, c.Job("j1").Watch(t.Context()))
		synctest.Wait()
		p.send(`{"type":"chunk","jobId":"j1","stream":"tokens","run":1,"from":0,"error":"not_found"}`)
		if _, err := gone.end(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
		w.running("the watch goes on")

		busy := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "ab", "")
		p.send(`{"type":"chunk","jobId":"j1","stream":"tokens","run":1,"from":2,"error":"unavailable"}`)
		p.wantStreams("tokens@1:2")
		p.chunk(1, 2, "c", `,"end":true`)
		if got, err := busy.end(); got != "abc" || err != nil {
			t.Errorf("%q, %v", got, err)
		}

		ctx, cancel := context.WithCancel(t.Context())
		r := begin(t, func() (struct{}, error) {
			for _, err := range c.Job("j1").Stream(ctx, "tokens") {
				return struct{}{}, err
			}
			return struct{}{}, nil
		})
		p.wantStreams("tokens")
		cancel()
		if _, err := r.end(); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		p.wantStreams() // the watch is left

		closed := readAll(t, c.Job("j1"), "tokens")
		p.wantStreams("tokens")
		p.chunk(1, 0, "ab", "")
		synctest.Wait()
		_ = c.Close()
		if got, err := closed.end(); got != "ab" || !errors.Is(err, ErrClosed) {
			t.Errorf("%q, %v", got, err)
		}
		_, _ = w.end()
	})
}

func TestAStreamIsAReader(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		r := c.Job("j1").ReadStream(t.Context(), "tokens")
		read := begin(t, func() ([]string, error) {
			var texts []string
			for {
				b, err := io.ReadAll(r)
				texts = append(texts, string(b))
				if !errors.Is(err, ErrStreamReset) {
					return texts, err
				}
			}
		})
		p.wantStreams("tokens")
		p.chunk(1, 0, "lost", "")
		synctest.Wait()
		p.chunk(2, 0, "kept", `,"reset":true`)
		p.chunk(2, 4, "", `,"end":true`)
		if texts, err := read.end(); !slices.Equal(texts, []string{"lost", "kept"}) || err != nil {
			t.Errorf("%q, %v", texts, err)
		}
		_ = r.Close()
		if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("closed: %d, %v", n, err)
		}
	})
}
