package ackwire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

func TestCloseCodes(t *testing.T) {
	codes := append(slices.Clone(code.AllCloses), 1000, 1002, 4499, 4999)
	for _, cc := range codes {
		t.Run(fmt.Sprintf("%d %s", cc, cc), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *fake) {
				c, p := s.dial()
				j := c.testSubmitted(t, p, "j1")
				w := collect(t, j.Watch(t.Context()))
				ping := begin(t, func() (int, error) { return 0, c.Ping(context.Background()) })
				sub := c.testSubmit(t)
				synctest.Wait()
				p.send(`{"type":"error","code":"unauthenticated","title":"x","detail":"the token was revoked","retryable":false}`)
				p.close(cc)
				if cc.Reconnect() {
					p2 := s.next()
					p2.send(`{"type":"pong","id":%q}`, p2.want(frame.Ping).ID)
					p2.subscribed()
					p2.status("j1", 3, "completed")
					if got, err := w.end(); got != "completed@3" || err != nil {
						t.Errorf("watch: %q, %v", got, err)
					}
					if _, err := ping.end(); err != nil {
						t.Errorf("ping: %v", err)
					}
					if _, err := sub.end(); !errors.Is(err, ErrIndeterminate) || !errors.Is(err, ErrDisconnected) {
						t.Errorf("submit: %v", err)
					}
					return
				}
				_, watchErr := w.end()
				_, pingErr := ping.end()
				_, subErr := sub.end()
				_, lateErr := c.Submit(t.Context(), "demo.echo", 1)
				<-c.Done()
				for name, err := range map[string]error{"watch": watchErr, "ping": pingErr, "submit": subErr,
					"later submit": lateErr, "Err": c.Err()} {
					e, ok := errors.AsType[*CloseError](err)
					if !ok || e.Code != cc || CodeOf(err) != code.Unauthenticated ||
						!strings.Contains(err.Error(), "the token was revoked") {
						t.Errorf("%s: %v", name, err)
					}
				}
				if !errors.Is(subErr, ErrIndeterminate) || errors.Is(lateErr, ErrIndeterminate) {
					t.Errorf("only what was sent is not known: %v; %v", subErr, lateErr)
				}
				s.noNext(time.Hour)
			})
		})
	}
}

func TestReconnectBacksOff(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		w := collect(t, c.Job("j1").Watch(t.Context()))
		p.subscribed()
		var at []time.Time
		s.setRefuse(func(w http.ResponseWriter, _ *http.Request) {
			at = append(at, time.Now())
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		start := time.Now()
		p.drop()
		time.Sleep(10 * time.Minute)
		s.setRefuse(nil)
		p = s.next()
		b := Backoff{}.withDefaults()
		for i, a := range at {
			if d := a.Sub(start); d > b.ceiling(i) {
				t.Errorf("try %d after %v, ceiling %v", i, d, b.ceiling(i))
			}
			start = a
		}
		// Full jitter below 5 s means 2.5 s on average: about 240 tries in ten minutes.
		if n := len(at); n < 180 || n > 320 {
			t.Errorf("%d tries in ten minutes", n)
		}
		p.subscribed()
		p.status("j1", 2, "completed")
		if got, err := w.end(); got != "completed@2" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// A server that welcomes and closes at once must meet growing waits too.
func TestShortConnectionsBackOff(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		_, p := s.dial()
		start, n := time.Now(), 0
		for ; time.Since(start) < time.Minute; n++ {
			p.close(code.CloseInternalError)
			p = s.next()
		}
		if n > 60 {
			t.Errorf("%d connections in a minute", n)
		}
		time.Sleep(10 * time.Second) // this one lasts
		lost := time.Now()
		p.drop()
		s.next()
		if d := time.Since(lost); d > DefaultBackoffBase {
			t.Errorf("back after %v: a good connection starts the count again", d)
		}
	})
}

func TestBackoffCeiling(t *testing.T) {
	b := Backoff{}.withDefaults()
	for n, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
		if got := b.ceiling(n); got != want*time.Millisecond {
			t.Errorf("ceiling(%d) = %v", n, got)
		}
	}
	if got := b.ceiling(1 << 30); got != b.Cap {
		t.Errorf("ceiling of many = %v", got)
	}
	if got := b.wait(0, time.Hour); got < time.Minute || got > time.Minute+b.Base {
		t.Errorf("a server may ask for a minute at most: %v", got)
	}
}

func TestGoaway(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		w := collect(t, j.Watch(t.Context()))
		flying := c.testSubmit(t)
		fly := p.want(frame.Submit)
		p.send(`{"type":"goaway","reason":"restart","reconnectAfter":7.5}`)
		synctest.Wait()
		start := time.Now()
		fresh := c.testSubmit(t)
		p.wantNothing("what is new waits for the next connection")
		p.status("j1", 2, "processing")
		p2 := s.next()
		if d := time.Since(start); d != 7500*time.Millisecond {
			t.Errorf("back after %v", d)
		}
		if refs := p2.subscribed(); !slices.Equal(refs, []string{"j1@2"}) {
			t.Errorf("subscribed to %v", refs)
		}
		p2.ack("j3")
		if j, err := fresh.end(); err != nil || j.ID != "j3" {
			t.Errorf("fresh: %v, %v", j, err)
		}
		flying.running("its answer is still awaited on the old socket")
		p.sendAck(fly.ID, "j2")
		p.status("j1", 4, "processing") // the old one's updates count, once
		if j, err := flying.end(); err != nil || j.ID != "j2" {
			t.Errorf("flying: %v, %v", j, err)
		}
		p.wantEnd("the old socket has nothing left to answer")
		if websocket.CloseStatus(p.err) != websocket.StatusNormalClosure {
			t.Errorf("the old socket ended with %v", p.err)
		}
		p2.status("j1", 4, "processing")
		p2.status("j1", 5, "completed")
		if got, err := w.end(); !strings.HasPrefix(got, "processing@2") || !strings.HasSuffix(got, "completed@5") ||
			strings.Count(got, "@4") > 1 || err != nil {
			t.Errorf("watch: %q, %v", got, err)
		}
		if n := c.ConnStats().Goaways; n != 1 {
			t.Errorf("%d goaways", n)
		}
	})
}

// An ack that comes on the old socket once the new one is in use begins a watch that the old one will not serve: the
// new one is asked for it.
func TestAnAckOnTheOldSocketIsWatchedOnTheNewOne(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		known := collect(t, c.Job("j1").Watch(t.Context()))
		p.subscribed()
		fresh := c.testSubmit(t)
		first := p.want(frame.Submit)
		again := c.testSubmit(t)
		second := p.want(frame.Submit)
		p.send(`{"type":"goaway","reason":"restart","reconnectAfter":1}`)
		p2 := s.next()
		asked := p2.want(frame.Subscribe)
		p.sendAck(first.ID, "j2")
		p.sendAck(second.ID, "j1") // a duplicate of the job that is watched
		p.wantEnd("the old socket has nothing left to answer")
		j2, err := fresh.end()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.end(); err != nil {
			t.Fatal(err)
		}
		w := collect(t, j2.Watch(t.Context()))
		seen := p2.want(frame.Subscribe).refs()
		if !slices.Contains(seen, "j2") {
			t.Errorf("the new socket is asked for %v", seen)
		}
		// The answer to what was asked before the acks still counts.
		p2.send(`{"type":"subscribed","id":%q,"jobs":[{"jobId":"j1","version":0,"error":"not_found"}]}`, asked.ID)
		if _, err := known.end(); CodeOf(err) != code.NotFound {
			t.Errorf("the watch of j1: %v", err)
		}
		p2.status("j2", 3, "completed")
		if got, err := w.end(); got != "completed@3" || err != nil {
			t.Errorf("the watch of j2: %q, %v", got, err)
		}
	})
}

func TestGoawayWaitsForAnswersOnlySoLong(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		plain := c.testSubmit(t)
		p.want(frame.Submit)
		keyed := c.testSubmit(t, Key("k"))
		p.want(frame.Submit)
		start := time.Now()
		p.send(`{"type":"goaway","reason":"restart","reconnectAfter":1}`)
		p2 := s.next()
		p2.ack("j1")
		if j, err := keyed.end(); err != nil || j.ID != "j1" {
			t.Errorf("keyed: %v, %v", j, err)
		}
		if _, err := plain.end(); !errors.Is(err, ErrIndeterminate) {
			t.Errorf("plain: %v", err)
		}
		if d := time.Since(start); d != time.Second+DefaultDrainTimeout {
			t.Errorf("waited %v", d)
		}
		p.wantEnd("the old socket")
	})
}

// The server may close before the time it named: the client still comes back only then.
func TestGoawayThenClose(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		_, p := s.dial()
		start := time.Now()
		p.send(`{"type":"goaway","reason":"restart","reconnectAfter":4}`)
		p.close(code.CloseServiceRestart)
		s.next()
		if d := time.Since(start); d != 4*time.Second {
			t.Errorf("back after %v", d)
		}
	})
}

func TestGarbageFrames(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		sub := c.testSubmit(t)
		g := p.want(frame.Submit)
		bad := []string{
			``, `null`, `[]`, `{`, `}`, `{"type"`, `{"type":}`, `{"type":"status"`, `{"type":1}`, `"status"`, "\x00\xff",
			`{"type":"status"}`, `{"type":"status","version":1}`, `{"type":"status","version":"1","job":{}}`,
			`{"type":"status","version":0,"job":{"jobId":"j1","state":"completed"}}`,
			`{"type":"status","version":-1,"job":{"jobId":"j1","state":"completed"}}`,
			`{"type":"status","version":99999999999999999999,"job":{"jobId":"j1","state":"completed"}}`,
			`{"type":"status","version":9,"job":{"jobId":"j1"}}`, `{"type":"status","version":9,"job":"j1"}`,
			`{"type":"status","version":9,"job":{"jobId":"j1","state":"completed"}`,
			`{"type":"status","version":9,"job":{"jobId":7,"state":"completed"}}`,
			`{"type":"subscribed","id":7}`, `{"type":"subscribed","jobs":{}}`, `{"type":"error"}`, `{"type":"error","code":5}`,
			`{"type":"goaway","reconnectAfter":"soon"}`, `{"type":"welcome","limits":[]}`,
			strings.Repeat("[", 100_000), strings.Repeat(`{"a":`, 10_000),
		}
		for _, b := range bad {
			p.send("%s", b)
		}
		if err := p.ws.Write(t.Context(), websocket.MessageBinary,
			[]byte(`{"type":"status","version":9,"job":{"jobId":"j1","state":"completed"}}`)); err != nil {
			t.Fatal(err)
		}
		odd := []string{ // readable frames that answer nothing
			`{}`, `{"type":"later.invention","x":[{}]}`, `{"type":"ack","id":"nobody","jobId":"j"}`, `{"type":"pong"}`,
			`{"type":"pong","id":"` + g.ID + `"}`, `{"type":"welcome","id":"` + g.ID + `"}`,
			`{"type":"unsubscribed","id":"` + g.ID + `"}`,
			`{"type":"error","id":"nobody","code":"internal"}`,
			`{"type":"subscribed","id":"nobody","jobs":[{"jobId":"j1","error":"not_found"},{}]}`,
			`{"type":"status","version":9,"job":{"jobId":"stranger","state":"completed"}}`,
		}
		// That subscribed names j1, watched since its submit, under an ID nobody used.
		for _, b := range odd[:len(odd)-2] {
			p.send("%s", b)
		}
		p.send("%s", odd[len(odd)-1])
		synctest.Wait()
		if st := c.ConnStats(); st.BadFrames != int64(len(bad)+1) {
			t.Errorf("%d bad frames, want %d", st.BadFrames, len(bad)+1)
		}
		p.sendAck(g.ID, "j2")
		if j, err := sub.end(); err != nil || j.ID != "j2" {
			t.Errorf("after all that: %v, %v", j, err)
		}
		p.status("j1", 3, "completed")
		if st, err := j.Wait(t.Context()); err != nil || st.Version != 3 {
			t.Errorf("after all that: %v, %v", st, err)
		}
		sub = c.testSubmit(t)
		p.send(`{"type":"ack","id":%q}`, p.want(frame.Submit).ID)
		if _, err := sub.end(); !errors.Is(err, ErrIndeterminate) {
			t.Errorf("an ack without a job: %v", err)
		}
	})
}

func TestFrameAboveReadLimitIsFinal(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial(WithReadLimit(4096))
		w := collect(t, c.Job("j1").Watch(t.Context()))
		p.subscribed()
		go p.send("%s", `{"x":"`+strings.Repeat("x", 8192)+`"}`)
		_, err := w.end()
		if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != code.CloseMessageTooBig {
			t.Errorf("got %v", err)
		}
	})
}

// TestCompression: compression is asked for only with the option, a server may decline it, and the read limit applies
// to the decompressed frame.
func TestCompression(t *testing.T) {
	const agreed = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
	for _, row := range []struct {
		what   string
		server websocket.CompressionMode
		opts   []Option
		agreed string
	}{
		{"asked for and given", websocket.CompressionNoContextTakeover, []Option{WithCompression()}, agreed},
		{"asked for and not given", websocket.CompressionDisabled, []Option{WithCompression()}, ""},
		{"not asked for", websocket.CompressionNoContextTakeover, nil, ""},
	} {
		inBubble(t, func(t *testing.T, s *fake) {
			s.compression = row.server
			c, p := s.dial(append(row.opts, WithReadLimit(8192))...)
			if p.extensions != row.agreed {
				t.Errorf("%s: agreed on %q", row.what, p.extensions)
			}
			w := collect(t, c.Job(strings.Repeat("j", 100)).Watch(t.Context()))
			p.subscribed()
			p.send(`{"type":"status","version":7,"job":{"jobId":"%s","state":"completed","result":"%s"}}`,
				strings.Repeat("j", 100), strings.Repeat("x", 7000))
			if got, err := w.end(); err != nil || got != "completed@7" {
				t.Errorf("%s: %q, %v", row.what, got, err)
			}
			w = collect(t, c.Job("j2").Watch(t.Context()))
			p.subscribed()
			go p.send("%s", `{"x":"`+strings.Repeat("x", 9000)+`"}`)
			_, err := w.end()
			if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != code.CloseMessageTooBig {
				t.Errorf("%s: a text above the limit: %v", row.what, err)
			}
		})
	}
}

func TestSilentServerIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		for range 20 { // alive: pings are enough
			time.Sleep(25 * time.Second)
			if err := p.ws.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.ConnStats().Connects; n != 1 {
			t.Fatalf("%d connects while the server pings", n)
		}
		start := time.Now()
		s.next()
		if d := time.Since(start); d < 50*time.Second || d > 110*time.Second {
			t.Errorf("given up after %v of silence", d)
		}
		p.wantEnd("the silent socket")
	})
}

func TestStuckWriteIsGivenUp(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, _ := s.dial()
		c.mu.Lock()
		cn := c.cur
		c.mu.Unlock()
		cn.writes.Add(1) // as if a write never returned, while pings still come
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-time.After(5 * time.Second):
					cn.seen.Add(1)
				case <-stop:
					return
				}
			}
		}()
		s.next()
		close(stop)
	})
}

func TestWithoutReconnect(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial(WithoutReconnect())
		sub, ping := c.testSubmit(t, Key("k")), begin(t, func() (int, error) { return 0, c.Ping(context.Background()) })
		synctest.Wait()
		p.send(`{"type":"goaway","reason":"restart","reconnectAfter":1}`)
		time.Sleep(time.Minute)
		p.close(code.CloseServiceRestart)
		if _, err := sub.end(); !errors.Is(err, ErrDisconnected) || !errors.Is(err, ErrIndeterminate) {
			t.Errorf("submit: %v", err)
		}
		if _, err := ping.end(); !errors.Is(err, ErrDisconnected) {
			t.Errorf("ping: %v", err)
		}
		s.noNext(time.Hour)
	})
}

func TestCloseEndsEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		j := c.testSubmitted(t, p, "j1")
		sent := c.testSubmit(t, Key("k"))
		p.want(frame.Submit)
		wait := begin(t, func() (Status, error) { return j.Wait(context.Background()) })
		watch := collect(t, c.Job("j2").Watch(context.Background()))
		p.subscribed()
		synctest.Wait()
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { _ = c.Close() })
		}
		wg.Wait()
		if _, err := sent.end(); !errors.Is(err, ErrClosed) || !errors.Is(err, ErrIndeterminate) {
			t.Errorf("submit: %v", err)
		}
		if _, err := wait.end(); !errors.Is(err, ErrClosed) {
			t.Errorf("wait: %v", err)
		}
		if _, err := watch.end(); !errors.Is(err, ErrClosed) {
			t.Errorf("watch: %v", err)
		}
		p.wantEnd("the socket")
		if websocket.CloseStatus(p.err) != websocket.StatusNormalClosure {
			t.Errorf("ended with %v", p.err)
		}
		if _, err := c.Submit(t.Context(), "demo.echo", 1); !errors.Is(err, ErrClosed) {
			t.Errorf("later submit: %v", err)
		}
		if _, err := c.Job("j1").Get(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("later get: %v", err)
		}
		if _, err := j.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("later wait: %v", err)
		}
	})
}

// A peer that has stopped reading and answering must not hold Close up.
func TestCloseWithDeafServer(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.setRefuse(func(w http.ResponseWriter, r *http.Request) {
			ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{frame.Protocol}})
			if err != nil {
				return
			}
			p := &peer{t: t, ws: ws}
			s.mu.Lock()
			s.all = append(s.all, p)
			s.mu.Unlock()
			p.welcome() // and then never reads
		})
		c, _, err := s.tryDial()
		if err != nil {
			t.Fatal(err)
		}
		sub := c.testSubmit(t)
		synctest.Wait()
		start := time.Now()
		_ = c.Close()
		if d := time.Since(start); d > 2*closeGrace {
			t.Errorf("Close took %v", d)
		}
		if _, err := sub.end(); !errors.Is(err, ErrClosed) {
			t.Errorf("submit: %v", err)
		}
	})
}

func TestCloseWhileReconnecting(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		s.setRefuse(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }) // hangs
		p.drop()
		time.Sleep(time.Second)
		start := time.Now()
		_ = c.Close()
		if d := time.Since(start); d > 0 {
			t.Errorf("Close took %v", d)
		}
	})
}
