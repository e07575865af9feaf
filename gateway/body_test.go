package gateway

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/api"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// counted counts what is read of a body.
type counted struct {
	io.Reader
	read int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.read += int64(n)
	return n, err
}

func (c *counted) Close() error { return nil }

// unserved is a gateway whose Kafka is up and that asks nobody.
func unserved(tb testing.TB, configure func(*Config), more ...*jobtypes.Type) *Gateway {
	tb.Helper()
	cfg := Defaults()
	cfg.Auth.AnonymousTenant = "local"
	configure(&cfg)
	g, err := New(cfg, service.Env{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		tb.Fatal(err)
	}
	g.kafkaUp.Up()
	for _, t := range more {
		g.types[t.Name] = t
	}
	g.build(nil, nil, nil)
	return g
}

// TestARefusedSubmitIsNotRead: who submits, what the headers say and the tenant's limits are looked at before
// the body, and of the body its beginning before the rest.
func TestARefusedSubmitIsNotRead(t *testing.T) {
	const huge = 4 << 20
	body := func(jobType string) string {
		return fmt.Sprintf(`{"job":%q,"payload":"%s"}`, jobType, strings.Repeat("x", huge))
	}
	large := &jobtypes.Type{
		Name: "large", Lane: "default", MaxPayload: 2 * huge, Policy: jobtypes.Default()["demo.echo"].Policy,
	}
	for _, c := range []struct {
		what      string
		body      string
		header    http.Header
		configure func(*Config)
		chunked   bool
		code      code.Code
		most      int64 // bytes that are read
	}{
		{
			"a token that is refused", body("large"), http.Header{"Authorization": {"Bearer x"}}, nil, false,
			code.Unauthenticated, 0,
		},
		{
			"another media type", body("large"), http.Header{"Content-Type": {"text/plain"}}, nil, false,
			code.UnsupportedMediaType, 0,
		},
		{
			"a preference that cannot be read", body("large"), http.Header{"Prefer": {"wait=x"}}, nil, false,
			code.InvalidFrame, 0,
		},
		{
			"beyond the tenant's rate", body("large"), nil, func(c *Config) { c.Limits.SubmitRate = 1e-9 }, false,
			code.RateLimited, 0,
		},
		{
			"beyond the tenant's rate, without a length", body("large"), nil,
			func(c *Config) { c.Limits.SubmitRate = 1e-9 }, true, code.RateLimited, 0,
		},
		{
			"more bytes than may be in flight", body("large"), nil, func(c *Config) { c.Limits.SubmitBytes = huge },
			false, code.Overloaded, 0,
		},
		{"a type that nobody knows", body("none"), nil, nil, false, code.UnknownJobType, api.BodyHead},
		{"a type that nobody knows, without a length", body("none"), nil, nil, true, code.UnknownJobType, api.BodyHead},
	} {
		g := unserved(t, func(cfg *Config) {
			if c.configure != nil {
				c.configure(cfg)
			}
		}, large)
		if g.cfg.Limits.SubmitRate > 0 { // its burst is used up
			if _, err := g.limits.BeginSubmit(t.Context(), "local", 0); err != nil {
				t.Fatal(err)
			}
		}
		r := httptest.NewRequest("POST", "http://127.0.0.1/v1/jobs", strings.NewReader(c.body))
		if c.chunked {
			r.ContentLength = -1
		}
		read := &counted{Reader: r.Body}
		r.Body = read
		r.Header.Set("Content-Type", "application/json")
		for name, v := range c.header {
			r.Header[name] = v
		}
		w := httptest.NewRecorder()
		g.api.Handler().ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), `"code":"`+string(c.code)+`"`) {
			t.Errorf("%s: %d %s", c.what, w.Code, w.Body)
		}
		if read.read > c.most {
			t.Errorf("%s: %d bytes of the body were read, want at most %d", c.what, read.read, c.most)
		}
		if held := g.limits.Held(); held != 0 {
			t.Errorf("%s: %d bytes are still counted", c.what, held)
		}
	}
}

// TestSubmitBytes: what is being read counts, each tenant has its share of it, and it is given back.
func TestSubmitBytes(t *testing.T) {
	l := limits.New(limits.Config{Submits: 100, SubmitBytes: 1000}, 1, time.Second, nil, func(limits.Bound) {})
	begin := func(tenant string, bytes int64) (limits.Submit, code.Code) {
		s, err := l.BeginSubmit(t.Context(), tenant, bytes)
		var p frame.Problem
		errors.As(err, &p)
		return s, p.Code
	}
	modest, c := begin("modest", 10)
	if c != "" {
		t.Fatal(c)
	}
	var held []limits.Submit
	for range 8 {
		s, c := begin("greedy", 100)
		if c != "" {
			t.Fatal(c)
		}
		held = append(held, s)
	}
	if _, c := begin("greedy", 100); c != code.Overloaded {
		t.Errorf("more than its share while another one submits: %q", c)
	}
	if s, c := begin("modest", 100); c != "" {
		t.Errorf("the other one: %q", c)
	} else {
		s.End(false)
	}
	if _, c := begin("third", 191); c != code.Overloaded {
		t.Errorf("more than there is: %q", c)
	}
	for _, s := range append(held, modest) {
		s.End(true)
	}
	if n := l.Held(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// TestWebhooksAreNoJobsOfTheTenant: those that nobody serves stop no submit but one that asks for another.
func TestWebhooksAreNoJobsOfTheTenant(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.Jobs, c.Limits.Webhooks = 2, 3 }, func(t *testing.T, w *world) {
		for i := range 3 {
			id := fmt.Sprintf("019c1db0-0b11-7c02-8a41-5d2f6e8b0c%02d", i)
			w.tracker.put("local", 1, "webhooks", "", job.Document{
				JobID: id, Type: "ackwire.webhook", State: job.Retrying, Attempt: 1, MaxAttempts: 10,
			})
		}
		c := w.dial("")
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1}`)
		if g := c.answerTo("1"); g.Type != frame.Ack {
			t.Errorf("a submit: %s", g.raw)
		}
		c.send(`{"type":"submit","id":"2","job":"demo.echo","payload":1,"callbackUrl":"https://example.com/"}`)
		if g := c.answerTo("2"); g.Code != "limit_exceeded" || !strings.Contains(g.raw, "webhooks") {
			t.Errorf("a submit with a webhook: %s", g.raw)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "tenant_webhooks"); n != 1 {
			t.Errorf("%v were turned away", n)
		}
	})
}

// TestLongPollsCountForTheirUser: as sessions.
func TestLongPollsCountForTheirUser(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.SubjectSessions = 2; tokensOnly(c) }, func(t *testing.T, w *world) {
		as := func(user string) http.Header {
			h := w.header("acme", user, "submit", "read:tenant")
			h.Set("Prefer", "wait=30")
			h.Set("Content-Type", "application/json")
			return h
		}
		w.tracker.set("acme", jobA, 7, job.Processing)
		polled := make(chan answer)
		for range 2 {
			go func() { polled <- w.http("GET", "/v1/jobs/"+jobA, as("alice"), nil) }()
		}
		time.Sleep(time.Second)
		asked := w.tracker.gets.Load()
		if a := w.http("GET", "/v1/jobs/"+jobA, as("alice"), nil); a.status != 429 || a.code != "limit_exceeded" {
			t.Errorf("a third: %d %s", a.status, a.body)
		}
		if n := w.tracker.gets.Load(); n != asked {
			t.Errorf("the tracker was asked for it")
		}
		h := as("alice")
		h.Del("Prefer")
		if a := w.http("GET", "/v1/jobs/"+jobA, h, nil); a.status != 200 {
			t.Errorf("one that does not wait: %d %s", a.status, a.body)
		}
		if a := w.http("POST", "/v1/jobs", as("alice"),
			strings.NewReader(`{"job":"demo.echo","payload":1}`)); a.status != 202 || a.header.Get("Preference-Applied") != "" {
			t.Errorf("a submit that would wait: %d %v %s", a.status, a.header, a.body)
		}
		other := make(chan answer)
		go func() { other <- w.http("GET", "/v1/jobs/"+jobA, as("bob"), nil) }()
		time.Sleep(time.Second)
		w.tracker.set("acme", jobA, 8, job.Completed)
		for _, c := range []chan answer{polled, polled, other} {
			if a := <-c; a.status != 200 {
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		w.eventually("their places are free", func() bool {
			return w.http("GET", "/v1/jobs/"+jobA, as("alice"), nil).status == 200
		})
	})
}

// TestJobsThatAreAskedForAreLimited: by how many a frame or a request names, not by frames.
func TestJobsThatAreAskedForAreLimited(t *testing.T) {
	inWorld(t, func(c *Config) { c.Limits.AskRate = 100 }, func(t *testing.T, w *world) {
		c := w.dial("")
		names := func(round int) (refs []string) {
			for i := range 500 {
				refs = append(refs, fmt.Sprintf(`{"jobId":"019c1db0-0b11-7c02-8a41-%04d%08d"}`, round, i))
			}
			return refs
		}
		for round := range 2 {
			c.send(`{"type":"subscribe","id":"%d","jobs":[%s]}`, round, strings.Join(names(round), ","))
			if g := c.answerTo(fmt.Sprint(round)); g.Type != frame.Subscribed {
				t.Fatalf("%.200s", g.raw)
			}
		}
		c.send(`{"type":"subscribe","id":"3","jobs":[%s]}`, strings.Join(names(3), ","))
		if g := c.answerTo("3"); g.Code != "rate_limited" || g.RetryAfter < 4 || g.RetryAfter > 5 {
			t.Errorf("beyond a burst: %.200s", g.raw)
		}
		query := strings.Repeat("&job="+jobA, 1) + "&job=" + jobB
		if a := w.http("GET", "/v1/events?"+query[1:], nil, nil); a.status != 429 || a.code != "rate_limited" {
			t.Errorf("an event stream: %d %s", a.status, a.body)
		}
		if a := w.http("POST", "/v1/events", http.Header{"Content-Type": {"application/json"}}, strings.NewReader(
			fmt.Sprintf(`{"jobs":[{"jobId":%q},{"jobId":%q}]}`, jobA, jobB))); a.status != 429 || a.code != "rate_limited" {
			t.Errorf("a stream of frames: %d %s", a.status, a.body)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "ask_rate"); n != 3 {
			t.Errorf("%v were turned away", n)
		}
		time.Sleep(6 * time.Second)
		c.send(`{"type":"subscribe","id":"4","jobs":[%s]}`, strings.Join(names(4), ","))
		if g := c.answerTo("4"); g.Type != frame.Subscribed {
			t.Errorf("later: %.200s", g.raw)
		}
	})
}
