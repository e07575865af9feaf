package ackwire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/code"
)

func TestDialErrors(t *testing.T) {
	problem := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Retry-After", "9")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tc := range []struct {
		name   string
		refuse http.HandlerFunc
		want   code.Code
		detail string
	}{
		{
			"bad token", problem(401, `{"code":"unauthenticated","title":"x","detail":"expired","retryable":false}`),
			code.Unauthenticated, "expired",
		},
		{"origin", problem(403, `{"code":"forbidden","title":"x","retryable":false}`), code.Forbidden, ""},
		{"full", problem(429, `{"code":"limit_exceeded","title":"x","retryable":false}`), code.LimitExceeded, ""},
		{"a proxy", problem(502, `<html>`), code.Unavailable, "502"},
		{"a wrong address", problem(404, `nothing here`), code.NotFound, "404"},
		{"a plain page", problem(200, `hello`), code.Internal, "200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *fake) {
				s.setRefuse(tc.refuse)
				_, _, err := s.tryDial()
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Code != tc.want || !strings.Contains(e.Detail, tc.detail) || e.RetryDelay() != 9*time.Second {
					t.Errorf("got %#v", err)
				}
				if s.dials != 1 {
					t.Errorf("%d connections", s.dials)
				}
			})
		})
	}
	t.Run("unreachable", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *fake) {
			_ = s.ln.Close()
			if _, _, err := s.tryDial(); err == nil || !strings.Contains(err.Error(), "connection refused") {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("no welcome", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *fake) {
			start := time.Now()
			_, err := Dial(t.Context(), "ws://ackwire.test/v1/ws", s.transport())
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != DefaultHandshakeTimeout {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	})
	t.Run("closed instead of welcome", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *fake) {
			go func() {
				p := <-s.peers
				p.send(`{"type":"error","code":"unauthenticated","detail":"send auth first"}`)
				p.close(code.CloseAuthTimeout)
			}()
			_, err := Dial(t.Context(), "http://ackwire.test/", s.transport())
			if e, ok := errors.AsType[*CloseError](err); !ok || e.Code != code.CloseAuthTimeout ||
				CodeOf(err) != code.Unauthenticated {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("another protocol", func(t *testing.T) {
		inBubble(t, func(t *testing.T, s *fake) {
			s.setRefuse(func(w http.ResponseWriter, r *http.Request) {
				ws, _ := websocket.Accept(w, r, nil)
				_ = ws.CloseNow()
			})
			if _, _, err := s.tryDial(); err == nil || !strings.Contains(err.Error(), "ackwire.v1") {
				t.Errorf("got %v", err)
			}
		})
	})
}

func TestRetryDial(t *testing.T) {
	inBubble(t, func(t *testing.T, s *fake) {
		s.setRefuse(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := Dial(ctx, "http://ackwire.test", s.transport(), WithRetryDial())
		if !errors.Is(err, context.DeadlineExceeded) || CodeOf(err) != code.Unavailable {
			t.Errorf("got %v", err)
		}
		go func() {
			time.Sleep(time.Minute)
			s.setRefuse(nil)
		}()
		c, _, err := s.tryDial(WithRetryDial())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		s.setRefuse(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		if _, _, err := s.tryDial(WithRetryDial()); CodeOf(err) != code.Unauthenticated {
			t.Errorf("a refusal for good ends it: %v", err)
		}
	})
}

func TestParseURL(t *testing.T) {
	for raw, want := range map[string][2]string{
		"http://h:1":              {"http://h:1", "http://h:1/v1/ws"},
		"https://h/":              {"https://h", "https://h/v1/ws"},
		"ws://h/v1/ws":            {"http://h", "http://h/v1/ws"},
		"wss://h/prefix/v1/ws/":   {"https://h/prefix", "https://h/prefix/v1/ws"},
		"http://h/prefix/":        {"http://h/prefix", "http://h/prefix/v1/ws"},
		"http://h/v1/ws?ticket=a": {"http://h", "http://h/v1/ws?ticket=a"},
	} {
		base, ws, err := parseURL(raw)
		if err != nil || base != want[0] || ws != want[1] {
			t.Errorf("%s: %q %q %v", raw, base, ws, err)
		}
	}
	for _, raw := range []string{"", "h:1", "ftp://h", "http://", "http://[", "127.0.0.1:8080"} {
		if _, err := Dial(t.Context(), raw); err == nil {
			t.Errorf("%q: no error", raw)
		}
	}
	dial := WithDialContext((&net.Dialer{}).DialContext)
	for name, opts := range map[string][]Option{
		"two transports": {WithHTTPClient(&http.Client{}), dial},
		"no limit":       {WithReadLimit(0)},
		"no logger":      {WithLogger(nil)},
		"no source":      {WithTokenSource(nil)},
	} {
		if _, err := Dial(t.Context(), "http://h", opts...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
