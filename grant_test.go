package ackwire

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestGrantKey makes grants offline; embedded/sim shows that gateways take them.
func TestGrantKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := GrantKey{Secret: []byte(strings.Repeat("k", 32)), Audience: "staging"}
		request := GrantRequest{Jobs: []string{"0198c5c4-0000-7000-8000-00000000000a"}, TTL: 10 * time.Minute}
		g, err := key.Grant("acme", "alice", request)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(g.Expires); left != 10*time.Minute || strings.Count(g.Token, ".") != 2 {
			t.Errorf("%s, valid for %s", g.Token, left)
		}
		if again, err := key.Grant("acme", "alice", request); err != nil || again.Token == g.Token {
			t.Errorf("two grants are the same, %v", err)
		}
		if g, err := key.Grant("acme", "", request); err == nil {
			t.Errorf("without a subject: %+v", g)
		}
		request.TTL = 25 * time.Hour
		if g, err := key.Grant("acme", "alice", request); err == nil {
			t.Errorf("for a day and an hour: %+v", g)
		}
		request.TTL = time.Hour
		key.Secret = key.Secret[1:]
		if g, err := key.Grant("acme", "alice", request); err == nil || strings.Contains(err.Error(), "kkk") {
			t.Errorf("with a short key: %+v, %v", g, err)
		}
	})
}

const granted = `"grant":{"token":"a.b.c","expiresAt":"2026-02-02T09:30:00Z"}`

var grantedAs = Grant{Token: "a.b.c", Expires: time.Date(2026, 2, 2, 9, 30, 0, 0, time.UTC)}

// TestWithGrant submits with a grant, over a socket and over HTTP.
func TestWithGrant(t *testing.T) {
	const asked = `"grant":{"ttl":600,"permissions":["read","cancel"]}`
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial()
		for _, ack := range []string{granted, `"grant":7`, `"duplicate":true`} {
			sub := c.testSubmit(t, WithGrant(10*time.Minute, "read", "cancel"))
			g := p.want(frame.Submit)
			if !strings.Contains(g.raw, asked) {
				t.Errorf("frame %s", g.raw)
			}
			p.send(`{"type":"ack","id":%q,"jobId":"j1","state":"pending","statusUrl":"/v1/jobs/j1",%s}`, g.ID, ack)
			var want Grant
			if ack == granted {
				want = grantedAs
			}
			if j, err := sub.end(); err != nil || j.State != job.Pending || j.Grant != want {
				t.Errorf("%s: %+v, %v", ack, j, err)
			}
		}
	})
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, a *answers) {
		j, err := c.Submit(t.Context(), "a.b", 1, NoKey(), WithGrant(10*time.Minute, "read", "cancel"))
		if err != nil || j.Grant != grantedAs {
			t.Errorf("%+v, %v", j, err)
		}
		if want := `POST /v1/jobs {"job":"a.b","payload":1,` + asked + `}`; a.all()[0] != want {
			t.Errorf("sent %s\nwant %s", a.all()[0], want)
		}
		if j, err = c.Submit(t.Context(), "a.b", 1, NoKey()); err != nil || j.Grant != (Grant{}) {
			t.Errorf("without: %+v, %v", j, err)
		}
	}, says(202, strings.Replace(acked, `"duplicate":true`, granted, 1)), says(202, acked))
}

// TestGrant makes grants over HTTP.
func TestGrant(t *testing.T) {
	inHTTPBubble(t, func(t *testing.T, c *HTTPClient, a *answers) {
		request := GrantRequest{Jobs: []string{"j1"}, Types: []string{"a.b"}, Permissions: []string{"read"}, TTL: time.Minute}
		if g, err := c.Grant(t.Context(), request); err != nil || g != grantedAs {
			t.Errorf("%+v, %v", g, err)
		}
		want := `POST /v1/grants {"ttl":60,"permissions":["read"],"jobs":["j1"],"types":["a.b"]}`
		if a.all()[0] != want {
			t.Errorf("sent %s\nwant %s", a.all()[0], want)
		}
		if _, err := c.Grant(t.Context(), request); CodeOf(err) != code.Forbidden {
			t.Errorf("refused as %v", err)
		}
		for range 2 {
			if g, err := c.Grant(t.Context(), request); !errors.Is(err, errBadAnswer) {
				t.Errorf("%+v, %v", g, err)
			}
		}
	}, says(201, strings.TrimPrefix(granted, `"grant":`)), refuses(code.Forbidden), says(201, `{}`), says(201, `7`))
}
