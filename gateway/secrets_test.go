package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// captured is a log of every level, in both formats.
type captured struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (c *captured) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.Write(b)
}

func (c *captured) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.b.String()
}

// text is what /metrics shows.
func (w *world) text() string {
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			w.t.Fatal(err)
		}
	}
	return b.String()
}

// TestSecretsAreNowhere: tokens, grants and tickets, good and bad, whichever way they come, are in no
// log line of any level, no metric, no answer, and are never the subprotocol.
func TestSecretsAreNowhere(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		log := &captured{}
		opts := &slog.HandlerOptions{Level: slog.LevelDebug}
		handler := slog.Handler(slog.NewTextHandler(log, opts))
		if format == "json" {
			handler = slog.NewJSONHandler(log, opts)
		}
		spans := tracetest.NewSpanRecorder()
		inWorld(t, withGrants(t), func(t *testing.T, w *world) {
			var secrets, answers []string
			token := func(good bool) string {
				s := w.token("acme", "alice", time.Hour)
				if !good {
					s = s[:len(s)-8] + "forged00"
				}
				secrets = append(secrets, s)
				return s
			}
			keep := func(a answer) answer {
				var head strings.Builder
				_ = a.header.Write(&head)
				answers = append(answers, head.String(), a.body)
				return a
			}
			bearer := func(good bool) http.Header { return http.Header{"Authorization": {"Bearer " + token(good)}} }
			for _, good := range []bool{true, false} {
				keep(w.http("GET", "/v1/jobs", bearer(good), nil))
				keep(w.http("POST", "/v1/jobs", with(bearer(good), "Content-Type", "application/json"),
					strings.NewReader(`{"job":"nothing","payload":1}`)))
				keep(w.http("GET", "/v1/jobs?access_token="+token(good), nil, nil))
				for what, o := range map[string]dialOptions{
					"header": {header: bearer(good)}, "subprotocol": {
						subprotocols: []string{frame.BearerProtocolPrefix + token(good)},
					},
				} {
					c, r, err := w.dialRaw(o)
					if (err == nil) != good {
						t.Fatalf("%s, %t: %v", what, good, err)
					}
					var head strings.Builder
					_ = r.Header.Write(&head)
					answers = append(answers, head.String())
					if good {
						if p := r.Header.Get("Sec-WebSocket-Protocol"); p != frame.Protocol {
							t.Errorf("%s: the subprotocol is %q", what, p)
						}
						answers = append(answers, c.want(what, frame.Welcome).raw)
						c.send(`{"type":"auth","id":"1","token":%q}`, token(true))
						answers = append(answers, c.want("renewed", frame.Welcome).raw)
						c.send(`{"type":"auth","id":"2","token":%q}`, token(false))
						answers = append(answers, c.wantError("forged", "unauthenticated").raw)
						c.wantClose("forged", 4500)
					}
				}
				c, _, err := w.dialRaw(dialOptions{})
				if err != nil {
					t.Fatal(err)
				}
				c.send(`{"type":"auth","id":"1","token":%q}`, token(good))
				if g, err := c.read(settled); err != nil || (g.Type == frame.Welcome) != good {
					t.Errorf("first frame: %s, %v", g.raw, err)
				} else {
					answers = append(answers, g.raw)
				}
				c.send(`{"type":"auth","id":"1","token":"%s","token":"x"}`, token(good)) // a broken frame that has one
				_ = c.ws.CloseNow()
			}
			ticket := w.ticket(http.Header{"Authorization": {"Bearer " + token(true)}})
			secrets = append(secrets, ticket.Ticket, "a-made-up-ticket-of-somebody")
			c, _, err := w.dialRaw(dialOptions{query: "?ticket=" + ticket.Ticket})
			if err != nil {
				t.Fatal(err)
			}
			answers = append(answers, c.want("a ticket", frame.Welcome).raw)
			for _, used := range []string{ticket.Ticket, "a-made-up-ticket-of-somebody"} {
				if a := keep(w.http("GET", "/v1/ws?ticket="+used, upgrade(), nil)); a.status != 401 {
					t.Errorf("a used ticket: %d %s", a.status, a.body)
				}
			}
			grant := func(good bool) string {
				s := w.grant(time.Hour, "read", jobA)
				if !good {
					s = s[:len(s)-8] + "forged00"
				}
				secrets = append(secrets, s)
				return s
			}
			w.tracker.set("acme", jobA, 7, job.Completed)
			for _, good := range []bool{true, false} {
				for operation := range operations(t) {
					method, path, _ := strings.Cut(operation, " ")
					keep(w.http(method, path+"?job="+jobA+"&grant="+grant(good), nil, nil))
					keep(w.http(method, path, authorized(grant(good)), nil))
				}
				keep(w.http("GET", "/nothing?grant="+grant(good), nil, nil))
				keep(w.http("BREW", "/v1/events?grant="+grant(good), nil, nil))
				keep(w.http("GET", "/v1/events?grant="+grant(good)+"&grant="+grant(good), nil, nil))
				keep(w.http("GET", "/v1/events?job=x&grant="+grant(good), nil, nil))
			}
			for _, used := range []string{w.ticket(authorized(token(true))).Ticket, "another-made-up-ticket"} {
				secrets = append(secrets, used)
				for range 2 {
					keep(w.http("GET", "/v1/events?job="+jobA+"&ticket="+used, nil, nil))
				}
			}
			made, _ := w.makeGrant(token(true), `{"ttl":60,"jobs":["`+jobA+`"]}`)
			submitted := w.http("POST", "/v1/jobs", with(authorized(token(true)), "Content-Type", "application/json"),
				strings.NewReader(`{"job":"demo.echo","payload":1,"grant":{"ttl":60}}`))
			var ack frame.AckFrame
			if err := json.Unmarshal([]byte(submitted.body), &ack); err != nil || ack.Grant == nil {
				t.Fatalf("%s, %v", submitted.body, err)
			}
			secrets = append(secrets, made.Token, ack.Grant.Token) // only their makers are told
			records := w.produced(w.names.Status())
			// Both as the whole path and as what a proxy may have made of it.
			keep(w.http("GET", "/v1/"+ticket.Ticket, nil, nil))
			w.stopGateway()
			shown := strings.Join(answers, "\n")
			traced, kept := fmt.Sprint(len(spans.Ended())), fmt.Sprint(len(records))
			for _, s := range spans.Ended() {
				traced += fmt.Sprintln(s.Name(), s.Attributes(), s.Events(), s.Status(), s.Links())
			}
			for _, r := range records {
				kept += fmt.Sprintf("%s %s %v\n", r.Key, r.Value, r.Headers)
			}
			if len(spans.Ended()) == 0 || len(records) == 0 {
				t.Errorf("%d spans and %d records", len(spans.Ended()), len(records))
			}
			for _, s := range secrets {
				for _, part := range []string{s, s[max(0, len(s)-16):]} {
					if strings.Contains(log.String(), part) {
						t.Errorf("the %s log has %s", format, line(log.String(), part))
					}
					if strings.Contains(w.text(), part) {
						t.Errorf("the metrics have %s", line(w.text(), part))
					}
					if strings.Contains(traced, part) || strings.Contains(kept, part) {
						t.Errorf("a span has %s, or a record %s", line(traced, part), line(kept, part))
					}
					if strings.Contains(shown, part) {
						t.Errorf("an answer has %s", line(shown, part))
					}
				}
			}
			if !strings.Contains(log.String(), "session ended") || !strings.Contains(log.String(), "refused") {
				t.Error("the log was not captured")
			}
		}, func(w *world) {
			w.log = slog.New(handler)
			w.traces = sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
		})
	}
}

func upgrade() http.Header {
	return http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}, "Sec-Websocket-Protocol": {"ackwire.v1"},
	}
}

// line is the line of s that has part.
func line(s, part string) string {
	for l := range strings.Lines(s) {
		if strings.Contains(l, part) {
			return l
		}
	}
	return ""
}

// TestATicketIsItsHoldersOnly: a socket that was opened by a ticket belongs to the ticket's holder, also when the
// request carries another identity.
func TestATicketIsItsHoldersOnly(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		alice := http.Header{"Authorization": {"Bearer " + w.token("acme", "alice", time.Hour)}}
		c, _, err := w.dialRaw(dialOptions{
			query:  "?ticket=" + w.ticket(alice).Ticket,
			header: http.Header{"Authorization": {"Bearer " + w.token("globex", "bob", time.Hour)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.want("a ticket goes before a token", frame.Welcome)
		ack := c.submit()
		w.eventually("the job is the ticket's holder's", func() bool {
			return w.http("GET", "/v1/jobs/"+ack.JobID, alice, nil).status == 200
		})
		if got := w.http("GET", "/v1/jobs/"+ack.JobID,
			http.Header{"Authorization": {"Bearer " + w.token("globex", "bob", time.Hour)}}, nil); got.status != 404 {
			t.Errorf("the token's holder reads it: %d", got.status)
		}
		for what, other := range map[string]string{"another subject": w.token("acme", "bob", time.Hour),
			"another tenant": w.token("globex", "alice", time.Hour)} {
			c, _, err := w.dialRaw(dialOptions{query: "?ticket=" + w.ticket(alice).Ticket})
			if err != nil {
				t.Fatal(err)
			}
			c.want("a ticket", frame.Welcome)
			c.send(`{"type":"auth","id":"1","token":%q}`, other)
			c.wantError(what, "forbidden")
			c.wantAlive(what)
		}
		// Fifty tries at the same moment: one opens.
		ticket := w.ticket(alice).Ticket
		var opened, refused int
		var mu sync.Mutex
		var trying sync.WaitGroup
		for range 50 {
			trying.Go(func() {
				c, r, err := w.dialRaw(dialOptions{query: "?ticket=" + ticket})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					opened++
					_ = c.ws.CloseNow()
				case r != nil && r.StatusCode == 401:
					refused++
				}
			})
		}
		trying.Wait()
		if opened != 1 || refused != 49 {
			t.Errorf("%d opened and %d refused", opened, refused)
		}
	})
}

// inWorldLogging is inWorld with a log that the test reads.
func inWorldLogging(t *testing.T, log slog.Handler, configure func(*Config), f func(*testing.T, *world)) {
	t.Helper()
	inWorld(t, configure, f, func(w *world) { w.log = slog.New(log) })
}
