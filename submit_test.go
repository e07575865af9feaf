package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

func TestSubmitFrame(t *testing.T) {
	at := time.Date(2026, 5, 6, 7, 8, 9, 500e6, time.FixedZone("", 3600))
	for _, tc := range []struct {
		name    string
		payload any
		opts    []SubmitOption
		want    string
	}{
		{"bare", struct{}{}, nil, `,"job":"a.b","payload":{}}`},
		{"raw travels untouched", json.RawMessage(`{"a" : 1.0}`), nil, `,"job":"a.b","payload":{"a" : 1.0}}`},
		{"any value", []any{1, nil, "x"}, nil, `,"job":"a.b","payload":[1,null,"x"]}`},
		{"every option", 1, []SubmitOption{
			Key(`k"é`), RunAt(at), Timeout(1500 * time.Millisecond), Deadline(48 * time.Hour), NoWatch(),
			CallbackURL("https://x/?a=1&b=2"), Trace("00-1-2-01", "v=1"),
			WithTags(map[string]string{"b": `<"é`, "a": "1"}),
		},
			`,"job":"a.b","payload":1,"key":"k\"é","runAt":"2026-05-06T06:08:09.5Z","timeout":1.5,"deadline":172800,"watch":false,"traceparent":"00-1-2-01","tracestate":"v=1","callbackUrl":"https://x/?a=1&b=2","tags":{"a":"1","b":"<\"é"}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var cfg submitConfig
			for _, o := range tc.opts {
				o(&cfg)
			}
			got, err := cfg.appendBody("a.b", tc.payload, false)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if whole := append([]byte(`{"type":"submit","id":"1"`), got...); !json.Valid(whole) {
				t.Errorf("not JSON: %s", whole)
			}
		})
	}
}

func TestSubmitRefusesLocally(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		for name, payload := range map[string]any{
			"broken JSON":    json.RawMessage(`{"a":`),
			"broken UTF-8":   json.RawMessage("\"\xff\""),
			"not marshalled": math.NaN(),
		} {
			if _, err := c.Submit(t.Context(), "demo.echo", payload); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
		_, err := c.Submit(t.Context(), "demo.echo", strings.Repeat("x", 300<<10))
		if CodeOf(err) != code.PayloadTooLarge {
			t.Errorf("too large for a frame: got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Submit(ctx, "demo.echo", 1); !errors.Is(err, context.Canceled) || errors.Is(err, ErrIndeterminate) {
			t.Errorf("ended context: got %v", err)
		}
		p.wantNothing("nothing of this is worth a frame")
	})
}

func TestSubmitAck(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		sub := c.testSubmit(t)
		g := p.want(frame.Submit)
		if g.Job != "demo.echo" || string(g.Payload) != `{"n":1}` || g.Watch != nil {
			t.Errorf("frame %s", g.raw)
		}
		sub.running("before the ack")
		p.send(`{"type":"ack","id":%q,"jobId":"j1","state":"scheduled","statusUrl":"/v1/jobs/j1","duplicate":true,"new":[{"x":"}"}]}`, g.ID)
		p.status("j1", 7, "completed") // at once: the ack's subscription must be there
		j, err := sub.end()
		if err != nil || j.ID != "j1" || j.State != job.Scheduled || j.StatusURL != "/v1/jobs/j1" || !j.Duplicate {
			t.Fatalf("got %+v, %v", j, err)
		}
		st, err := j.Wait(t.Context())
		if err != nil || st.State != job.Completed || st.Version != 7 || st.Type != "demo.echo" ||
			string(st.Raw) != document("j1", "completed") {
			t.Fatalf("got %+v, %v", st, err)
		}
		p.wantNothing("the submit watches the job itself")
	})
}

func TestSubmitErrors(t *testing.T) {
	for _, c := range code.All {
		t.Run(string(c), func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *fake) {
				cl, p := s.dial()
				sub := cl.testSubmit(t)
				p.sendError(p.want(frame.Submit).ID, c,
					`,"retryAfter":1.5,"jobId":"j9","errors":[{"pointer":"/n","detail":"too small"}]`)
				_, err := sub.end()
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Code != c || CodeOf(err) != c || e.Detail != "because" || e.Retryable != c.Info().Retryable ||
					e.RetryDelay() != 1500*time.Millisecond || e.JobID != "j9" || len(e.Errors) != 1 || e.Errors[0].Pointer != "/n" {
					t.Fatalf("got %#v", err)
				}
				if got, want := errors.Is(err, ErrIndeterminate), c == code.Indeterminate; got != want {
					t.Errorf("ErrIndeterminate: %t", got)
				}
				if got, want := errors.Is(err, ErrNotFound), c == code.NotFound; got != want {
					t.Errorf("ErrNotFound: %t", got)
				}
			})
		})
	}
}

func TestSubmitIndeterminateWithKey(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		sub := c.testSubmit(t, Key("k"))
		start := time.Now()
		p.sendError(p.want(frame.Submit).ID, code.Indeterminate, `,"retryAfter":2,"jobId":"j1"`)
		g := p.want(frame.Submit)
		if d := time.Since(start); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("sent again after %v, want the 2 s that the server asked for and a little", d)
		}
		p.sendError(g.ID, code.Unavailable, "") // refuses the second try only: the first may have been written
		p.ack("j1")
		if j, err := sub.end(); err != nil || j.ID != "j1" {
			t.Fatalf("got %+v, %v", j, err)
		}
	})
}

func TestSubmitIndeterminateUntilContextEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		sub := begin(t, func() (*Job, error) {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return c.Submit(ctx, "demo.echo", 1, Key("k"))
		})
		go func() {
			for b := range p.frames {
				var g got
				_ = json.Unmarshal(b, &g)
				p.sendError(g.ID, code.Indeterminate, `,"jobId":"j1"`)
			}
		}()
		_, err := sub.end()
		close(p.frames)
		e, ok := errors.AsType[*IndeterminateError](err)
		if !ok || e.JobID != "j1" || e.Key != "k" || !errors.Is(err, context.DeadlineExceeded) ||
			CodeOf(err) != code.Indeterminate {
			t.Fatalf("got %v", err)
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("not one line: %q", err)
		}
	})
}

func TestSubmitLostWithoutKey(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		sub := c.testSubmit(t)
		p.want(frame.Submit)
		p.drop()
		_, err := sub.end()
		e, ok := errors.AsType[*IndeterminateError](err)
		if !ok || !errors.Is(err, ErrIndeterminate) || !errors.Is(err, ErrDisconnected) || e.Key != "" {
			t.Fatalf("got %v", err)
		}
		p2 := s.next()
		p2.wantNothing("it must not be sent twice")
	})
}

func TestSubmitLostWithKey(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		a := c.testSubmit(t, Key("a"))
		first := p.want(frame.Submit)
		b := c.testSubmit(t, Key("b"))
		p.want(frame.Submit)
		p.drop()
		p2 := s.next()
		again := p2.want(frame.Submit)
		if again.raw != first.raw {
			t.Errorf("sent again:\n%s\nfirst:\n%s", again.raw, first.raw)
		}
		p2.sendAck(again.ID, "ja")
		if g := p2.ack("jb"); g.Key != "b" {
			t.Errorf("order was not kept: %s", g.raw)
		}
		if j, err := a.end(); err != nil || j.ID != "ja" {
			t.Errorf("a: %+v, %v", j, err)
		}
		if j, err := b.end(); err != nil || j.ID != "jb" {
			t.Errorf("b: %+v, %v", j, err)
		}
		if n := c.ConnStats().Resends; n != 2 {
			t.Errorf("%d resends, want 2", n)
		}
	})
}

func TestSubmitLostThenUnavailable(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		sub := c.testSubmit(t, Key("k"))
		p.want(frame.Submit)
		p.drop()
		p2 := s.next()
		p2.sendError(p2.want(frame.Submit).ID, code.Unavailable, "")
		p2.ack("j1") // the first one may be in the log: only an ack settles it
		if j, err := sub.end(); err != nil || j.ID != "j1" {
			t.Fatalf("got %+v, %v", j, err)
		}
	})
}

func TestSubmitWaitsForConnection(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		p.drop()
		synctest.Wait()
		sub := c.testSubmit(t) // never written to the lost connection: safe without a key
		short := begin(t, func() (*Job, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
			defer cancel()
			return c.Submit(ctx, "demo.echo", 2)
		})
		if _, err := short.end(); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrIndeterminate) {
			t.Errorf("got %v, want the plain deadline: nothing was sent", err)
		}
		p2 := s.next()
		p2.ack("j1")
		if _, err := sub.end(); err != nil {
			t.Fatal(err)
		}
		p2.wantNothing("who gave up in the queue left nothing behind")
	})
}

func TestSubmitAbandonedAfterSending(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		ctx, cancel := context.WithCancel(t.Context())
		sub := begin(t, func() (*Job, error) { return c.Submit(ctx, "demo.echo", 1) })
		g := p.want(frame.Submit)
		cancel()
		if _, err := sub.end(); !errors.Is(err, context.Canceled) || !errors.Is(err, ErrIndeterminate) {
			t.Fatalf("got %v", err)
		}
		p.sendAck(g.ID, "j1")
		if u := p.want(frame.Unsubscribe); string(u.Jobs) != `["j1"]` {
			t.Errorf("got %s", u.raw)
		}
	})
}

func TestSubmitsInFlightAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		var subs []*pending[*Job]
		for range 100 {
			subs = append(subs, c.testSubmit(t, NoWatch()))
		}
		var ids []string
		for range 64 {
			ids = append(ids, p.want(frame.Submit).ID)
		}
		p.wantNothing("the server takes 64 in flight")
		ping := begin(t, func() (int, error) { return 0, c.Ping(t.Context()) })
		p.send(`{"type":"pong","id":%q}`, p.want(frame.Ping).ID)
		if _, err := ping.end(); err != nil {
			t.Errorf("a ping passes waiting submits: %v", err)
		}
		for len(ids) > 0 {
			p.sendAck(ids[0], "j"+ids[0])
			ids = ids[1:]
			synctest.Wait()
			select {
			case b := <-p.frames:
				var g got
				_ = json.Unmarshal(b, &g)
				ids = append(ids, g.ID)
			default:
			}
		}
		for _, s := range subs {
			if _, err := s.end(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestCancelAndRetry(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		cancel := begin(t, func() (job.State, error) { return c.Job("j1").Cancel(t.Context()) })
		if g := p.want(frame.Cancel); g.JobID != "j1" {
			t.Errorf("got %s", g.raw)
		}
		p.drop()
		p = s.next()
		p.send(`{"type":"ack","id":%q,"jobId":"j1","state":"cancelled","statusUrl":"/v1/jobs/j1"}`, p.want(frame.Cancel).ID)
		if st, err := cancel.end(); err != nil || st != job.Cancelled {
			t.Errorf("cancel: %v, %v", st, err)
		}
		retry := begin(t, func() (job.State, error) { return c.Job("j1").Retry(t.Context()) })
		p.want(frame.Retry)
		p.drop()
		if _, err := retry.end(); !errors.Is(err, ErrIndeterminate) {
			t.Errorf("retry: %v", err)
		}
		if _, err := c.Job("no such\nid").Cancel(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("bad ID: %v", err)
		}
	})
}

// TestWarningOfAnAck passes on what the server says of fields that it does not know.
func TestWarningOfAnAck(t *testing.T) {
	const said = `a submit has no field "run_at"`
	const warning = `"warning":"a submit has no field \"run_at\""`
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		for ack, want := range map[string]string{warning: said, `"duplicate":true`: ""} {
			sub := c.testSubmit(t)
			g := p.want(frame.Submit)
			p.send(`{"type":"ack","id":%q,"jobId":"j1","state":"pending","statusUrl":"/v1/jobs/j1",%s}`, g.ID, ack)
			if j, err := sub.end(); err != nil || j.Warning != want {
				t.Errorf("%s: %+v, %v", ack, j, err)
			}
		}
	})
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		if j, err := c.Submit(t.Context(), "a.b", 1, NoKey()); err != nil || j.Warning != said {
			t.Errorf("%+v, %v", j, err)
		}
	}, says(202, strings.Replace(acked, `"duplicate":true`, warning, 1)))
}

// TestPlaceOfAnAck passes on how many jobs are ahead, and of what cannot be true nothing.
func TestPlaceOfAnAck(t *testing.T) {
	said := func(j *Job) string {
		text := "nothing"
		if j.Ahead != nil {
			text = strconv.FormatInt(*j.Ahead, 10)
		}
		if j.Estimate != nil {
			text += " " + j.Estimate.String()
		}
		return text
	}
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		for ack, want := range map[string]string{
			`"ahead":12,"estimate":3.5`: "12 3.5s", `"ahead":0,"estimate":0`: "0 0s", `"ahead":7`: "7",
			`"estimate":3`: "nothing", `"duplicate":true`: "nothing", `"ahead":null,"estimate":null`: "nothing",
			`"ahead":-1,"estimate":1`: "nothing", `"ahead":"12","estimate":1`: "nothing", `"ahead":1.5`: "nothing",
			`"ahead":5,"estimate":-1`: "5", `"ahead":5,"estimate":1e300`: "5", `"ahead":5,"estimate":{}`: "5",
		} {
			sub := c.testSubmit(t)
			g := p.want(frame.Submit)
			p.send(`{"type":"ack","id":%q,"jobId":"j1","state":"pending","statusUrl":"/v1/jobs/j1",%s}`, g.ID, ack)
			if j, err := sub.end(); err != nil || said(j) != want {
				t.Errorf("%s: %v, %v, want %s", ack, j, err, want)
			}
		}
	})
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, _ *answers) {
		if j, err := c.Submit(t.Context(), "a.b", 1, NoKey()); err != nil || said(j) != "12 1m30s" {
			t.Errorf("%v, %v", j, err)
		}
	}, says(202, strings.Replace(acked, `"duplicate":true`, `"ahead":12,"estimate":90`, 1)))
}
