package ackwire

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// jwt makes an unsigned token with an exp claim.
func jwt(name string, exp time.Time) string {
	enc := base64.RawURLEncoding.EncodeToString
	return enc([]byte(`{"alg":"none"}`)) + "." + enc(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, name, exp.Unix())) + "." +
		enc([]byte("sig"))
}

func TestStaticToken(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		_, p := s.dial(WithToken("secret"))
		if p.auth != "Bearer secret" {
			t.Errorf("Authorization: %q", p.auth)
		}
		p.close(code.CloseTokenExpired)
		if p = s.next(); p.auth != "Bearer secret" {
			t.Errorf("after a reconnect: %q", p.auth)
		}
	})
	inBubble(t, func(t *testing.T, s *fake) {
		if _, p := s.dial(); p.auth != "" {
			t.Errorf("without a token: %q", p.auth)
		}
	})
}

func TestTokenSource(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		n := 0
		var broken atomic.Bool
		source := func(context.Context) (string, error) {
			if broken.Load() {
				return "", errors.New("the vault is closed")
			}
			n++
			return jwt(fmt.Sprint(n), time.Now().Add(100*time.Second)), nil
		}
		c, p := s.dial(WithTokenSource(source))
		start := time.Now()
		first := p.auth
		time.Sleep(70 * time.Second)
		g := p.want(frame.Auth) // the source is asked again while the socket is open
		if d := time.Since(start); d < 75*time.Second || d > 85*time.Second || "Bearer "+g.Token == first {
			t.Errorf("renewed after %v with %q", d, g.Token)
		}
		p.send(`{"type":"welcome","id":%q,"connection":"c1","protocol":"ackwire.v1","pingInterval":25,"limits":{"frameBytes":1000,"subscriptions":1,"inFlightSubmits":1}}`, g.ID)
		time.Sleep(70 * time.Second)
		g = p.want(frame.Auth)
		broken.Store(true)
		p.sendError(g.ID, code.Unavailable, "")
		time.Sleep(time.Hour) // the waits shrink towards the expiry, then stop
		p.wantNothing("without a token there is nothing to send")
		p.close(code.CloseTokenExpired)
		time.Sleep(time.Minute)
		broken.Store(false)
		if p = s.next(); p.auth == first {
			t.Error("the reconnect did not ask for a token")
		}
		s.setRefuse(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		p.drop()
		<-c.Done()
		if CodeOf(c.Err()) != code.Unauthenticated {
			t.Errorf("a refused token is final: %v", c.Err())
		}
	})
}

// TestTheServerWarns: the server warns that a token expires which the client cannot read. The client renews it at once,
// and tries again while that fails, until the server ends the session.
func TestTheServerWarns(t *testing.T) {
	const warning = `{"type":"expiring","expiresAt":"2030-01-01T00:00:00Z","closesAfter":90}`
	inBubble(t, func(t *testing.T, s *fake) {
		n := 0
		_, p := s.dial(WithTokenSource(func(context.Context) (string, error) {
			n++
			return fmt.Sprint("opaque ", n), nil
		}))
		time.Sleep(time.Minute)
		p.wantNothing("nobody knows when it ends")
		warned := time.Now()
		p.send(warning)
		p.send(warning)
		g := p.want(frame.Auth)
		if g.Token != "opaque 2" {
			t.Errorf("renewed with %q", g.Token)
		}
		p.wantNothing("one renewal at a time")
		p.sendError(g.ID, code.Unavailable, "")
		time.Sleep(20 * time.Second)
		g = p.want(frame.Auth)
		if d := time.Since(warned); d < 70*time.Second || d > 75*time.Second {
			t.Errorf("tried again after %s", d)
		}
		p.sendError(g.ID, code.Unavailable, "")
		g = p.want(frame.Auth)
		if d := time.Since(warned); d < 80*time.Second || d > 90*time.Second {
			t.Errorf("tried a third time after %s", d)
		}
		p.send(`{"type":"welcome","id":%q,"connection":"c1","protocol":"ackwire.v1","pingInterval":25,"limits":{"frameBytes":1000,"subscriptions":1,"inFlightSubmits":1}}`, g.ID)
		time.Sleep(time.Minute)
		p.wantNothing("it is renewed")
		p.send(`{"type":"expiring","closesAfter":"soon"}`)
		p.wantNothing("what makes no sense is passed over")
	})
	inBubble(t, func(t *testing.T, s *fake) {
		_, p := s.dial(WithToken("the only one"))
		p.send(warning)
		p.wantNothing("there is no newer one")
	})
}

// TestARenewalThatFailsAfterOneThatDidNot: a failed renewal is repeated before the expiry of the token in use, which is
// the second one, not the first.
func TestARenewalThatFailsAfterOneThatDidNot(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		_, p := s.dial(WithTokenSource(func(context.Context) (string, error) {
			return jwt("a", time.Now().Add(100*time.Second)), nil
		}))
		time.Sleep(70 * time.Second)
		g := p.want(frame.Auth)
		p.send(`{"type":"welcome","id":%q,"connection":"c1","protocol":"ackwire.v1","pingInterval":25,"limits":{"frameBytes":1000,"subscriptions":1,"inFlightSubmits":1}}`, g.ID)
		time.Sleep(70 * time.Second)
		p.sendError(p.want(frame.Auth).ID, code.Unavailable, "")
		p.want(frame.Auth)
	})
}

func TestRenewalRefused(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		c, p := s.dial(WithTokenSource(func(context.Context) (string, error) {
			return jwt("a", time.Now().Add(time.Minute)), nil
		}))
		p.sendError(p.want(frame.Auth).ID, code.Unauthenticated, "")
		p.close(code.CloseUnauthenticated)
		<-c.Done()
		if e, ok := errors.AsType[*CloseError](c.Err()); !ok || e.Code != code.CloseUnauthenticated ||
			CodeOf(e) != code.Unauthenticated {
			t.Errorf("got %v", c.Err())
		}
	})
}

func TestJWTExpiry(t *testing.T) {
	at := time.Unix(1_900_000_000, 0)
	if got, ok := jwtExpiry(jwt("x", at)); !ok || !got.Equal(at) {
		t.Errorf("got %v, %t", got, ok)
	}
	for _, token := range []string{"", "opaque", "a.b", "a.b.c", "a.!!.c", "a." + base64.RawURLEncoding.EncodeToString(
		[]byte(`{}`)) + ".c",
		"a." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1e300}`)) + ".c"} {
		if _, ok := jwtExpiry(token); ok {
			t.Errorf("%q has no expiry", token)
		}
	}
}

func TestGet(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		calls := 0
		c, p := s.dial(WithTokenSource(func(context.Context) (string, error) {
			calls++
			return fmt.Sprintf("t%d", calls), nil
		}))
		answer := func(status int, etag, body string) {
			s.get = func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "Bearer t1" && r.PathValue("id") == "renew" {
					status = 401
				} else if r.PathValue("id") == "renew" {
					status = 200
				}
				if etag != "" {
					w.Header().Set("ETag", etag)
				}
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}
		}
		answer(200, `"42"`, document("j1", "processing"))
		st, err := c.Job("j1").Get(t.Context())
		if err != nil || st.Version != 42 || st.JobID != "j1" || string(st.Raw) != document("j1", "processing") {
			t.Errorf("got %+v, %v", st, err)
		}
		answer(0, `W/"43"`, document("renew", "processing"))
		if st, err = c.Job("renew").Get(t.Context()); err != nil || st.Version != 43 || calls != 2 {
			t.Errorf("got %+v, %v after %d tokens", st, err, calls)
		}
		p.drop()
		answer(404, "", `{"code":"not_found","title":"Not found","retryable":false}`)
		if _, err = c.Job("j1").Get(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
		answer(502, "", "<html>")
		if _, err = c.Job("j1").Get(t.Context()); CodeOf(err) != code.Unavailable {
			t.Errorf("got %v", err)
		}
		answer(200, "", document("j1", "processing"))
		if _, err = c.Job("j1").Get(t.Context()); err == nil {
			t.Error("no ETag: no error")
		}
		answer(200, `"1"`, `{"jobId":7}`)
		if _, err = c.Job("j1").Get(t.Context()); err == nil {
			t.Error("no document: no error")
		}
		if _, err = c.Job("../x").Get(t.Context()); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}
