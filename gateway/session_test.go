package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/schemas/frame"
)

// TestBadFrames: each is answered with its code, and the socket goes on.
func TestBadFrames(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, bad := range []struct{ what, frame, code string }{
			{"not JSON", `hello`, "invalid_frame"},
			{"nothing", ``, "invalid_frame"},
			{"an array", `[{"type":"ping"}]`, "invalid_frame"},
			{"a number", `7`, "invalid_frame"},
			{"two objects", `{"type":"ping"}{"type":"ping"}`, "invalid_frame"},
			{"no type", `{"id":"1"}`, "invalid_frame"},
			{"a type that is no string", `{"type":7}`, "invalid_frame"},
			{"an unknown type", `{"type":"sumbit"}`, "unknown_frame"},
			{"a server's type", `{"type":"ack"}`, "unknown_frame"},
			{"a duplicate key", `{"type":"ping","id":"1","id":"2"}`, "invalid_frame"},
			{"a long id", `{"type":"ping","id":"` + strings.Repeat("x", 65) + `"}`, "invalid_frame"},
			{
				"deep nesting",
				`{"type":"submit","job":"demo.echo","payload":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`,
				"invalid_frame",
			},
			{"a NUL", "{\"type\":\"ping\",\"id\":\"\x00\"}", "invalid_frame"},
			{"no job", `{"type":"submit","payload":{}}`, "invalid_frame"},
			{"no payload", `{"type":"submit","job":"demo.echo"}`, "invalid_frame"},
			{"a mistyped job", `{"type":"submit","job":["demo.echo"],"payload":{}}`, "invalid_frame"},
			{"an unknown job", `{"type":"submit","job":"demo.ecko","payload":{}}`, "unknown_job_type"},
			{
				"a payload against its schema", `{"type":"submit","job":"demo.sleep","payload":{"seconds":"two"}}`,
				"validation_failed",
			},
			{
				"a duplicate key in the payload", `{"type":"submit","job":"demo.echo","payload":{"a":1,"a":2}}`,
				"validation_failed",
			},
			{
				"a long key", `{"type":"submit","job":"demo.echo","payload":{},"key":"` + strings.Repeat("k", 129) + `"}`,
				"invalid_frame",
			},
			{"a negative timeout", `{"type":"submit","job":"demo.echo","payload":{},"timeout":-1}`, "invalid_frame"},
			{"a time that is none", `{"type":"submit","job":"demo.echo","payload":{},"runAt":"tomorrow"}`, "invalid_frame"},
			{
				"a time too far", `{"type":"submit","job":"demo.echo","payload":{},"runAt":"2100-01-01T00:00:00Z"}`,
				"invalid_frame",
			},
			{
				"a callback that is no URL",
				`{"type":"submit","job":"demo.echo","payload":{},"callbackUrl":"file:///etc/passwd"}`, "invalid_frame",
			},
			{"subscribe to nothing", `{"type":"subscribe"}`, "invalid_frame"},
			{"subscribe to a string", `{"type":"subscribe","jobs":"all"}`, "invalid_frame"},
			{"subscribe with a bad after", `{"type":"subscribe","jobs":[{"jobId":"x","after":-1}]}`, "invalid_frame"},
			{"unsubscribe from an object", `{"type":"unsubscribe","jobs":[{}]}`, "invalid_frame"},
			{"auth without a token", `{"type":"auth"}`, "invalid_frame"},
		} {
			c := w.dial("")
			c.send("%s", bad.frame)
			g := c.wantError(bad.what, bad.code)
			if bad.code == "validation_failed" && len(g.Errors) == 0 {
				t.Errorf("%s: no errors[] in %s", bad.what, g.raw)
			}
			c.wantAlive(bad.what)
			_ = c.ws.CloseNow()
		}
		if n := w.gauge("ackwire_gateway_submits_total", "acked"); n != 0 {
			t.Errorf("%v jobs were made of bad frames", n)
		}
	})
}

func TestWhatClosesASocket(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		for _, bad := range []struct {
			what  string
			kind  websocket.MessageType
			frame string
			code  int
		}{
			{"a binary frame", websocket.MessageBinary, `{"type":"ping"}`, 1003},
			{"invalid UTF-8", websocket.MessageText, "{\"type\":\"ping\",\"id\":\"\xff\"}", 1007},
			{"a frame of 300 KiB", websocket.MessageText, `{"type":"ping","id":"` + strings.Repeat("x", 300<<10) + `"}`, 1009},
		} {
			c := w.dial("")
			written := make(chan struct{})
			go func() {
				defer close(written)
				_ = c.ws.Write(t.Context(), bad.kind, []byte(bad.frame))
			}()
			c.wantClose(bad.what, bad.code)
			<-written
		}
		c := w.dial("")
		for range 64 {
			c.send(`nonsense`)
		}
		c.wantClose("64 broken frames", 4502)
		w.dial("").wantAlive("the gateway goes on")
	})
}

func tokensOnly(c *Config) { c.Auth.AnonymousTenant = "" }

func TestTheFirstFrameMustBeAuth(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		open := func() *client {
			c, _, err := w.dialRaw(dialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		c := open()
		c.send(`{"type":"auth","id":"a","token":%q}`, w.token("acme", "alice", time.Hour))
		if g := c.want("a good token is welcomed", frame.Welcome); g.ID != "a" {
			t.Errorf("welcome %s", g.raw)
		}
		c.wantAlive("and may go on")

		c = open()
		c.send(`{"type":"ping","id":"1"}`)
		c.wantError("another first frame", "unauthenticated")
		c.wantClose("another first frame", 4502)

		c = open()
		c.send(`{"type":"auth","id":"1","token":"nonsense"}`)
		c.wantError("a bad token", "unauthenticated")
		c.wantClose("a bad token", 4500)

		c = open()
		began := time.Now()
		c.wantClose("no frame at all", 4501)
		if took := time.Since(began); took < 10*time.Second || took > 12*time.Second {
			t.Errorf("closed after %s", took)
		}
	})
}

func TestTokensAtTheHandshake(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		good := w.token("acme", "alice", time.Hour)
		for what, o := range map[string]dialOptions{
			"a header":      {header: http.Header{"Authorization": {"Bearer " + good}}},
			"a subprotocol": {subprotocols: []string{frame.BearerProtocolPrefix + good}},
		} {
			c, r, err := w.dialRaw(o)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			c.want(what, frame.Welcome)
			if p := r.Header.Get("Sec-WebSocket-Protocol"); p != frame.Protocol {
				t.Errorf("%s: subprotocol %q", what, p)
			}
		}
		for what, token := range map[string]string{"garbage": "garbage", "an expired one": w.token("acme",
			"alice", time.Nanosecond)} {
			time.Sleep(31 * time.Second) // beyond the leeway
			_, r, err := w.dialRaw(dialOptions{header: http.Header{"Authorization": {"Bearer " + token}}})
			if err == nil || r == nil || r.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s was not refused with 401: %v", what, err)
			}
		}
		for origin, status := range map[string]int{"https://evil.example": 403, "http://" + gatewayAddr: 101} {
			_, r, _ := w.dialRaw(dialOptions{header: http.Header{"Authorization": {"Bearer " + good}, "Origin": {origin}}})
			if r == nil || r.StatusCode != status {
				t.Errorf("origin %s: want %d, got %v", origin, status, r)
			}
		}
	})
}

func TestATokenEndsAndIsRenewed(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		c := w.dial(w.token("acme", "alice", 20*time.Second))
		c.wantAlive("at first")
		c.send(`{"type":"auth","id":"1","token":%q}`, w.token("acme", "bob", time.Hour))
		c.wantError("another subject", "forbidden")
		renewed := time.Now()
		again := w.token("acme", "alice", time.Minute)
		c.send(`{"type":"auth","id":"2","token":%q}`, again)
		c.want("a renewal", frame.Welcome)
		for range 50 { // with the leeway the first token would have ended after 50 s
			time.Sleep(time.Second)
			c.wantAlive("renewed")
		}
		g := c.want("a warning", frame.Expiring)
		var warning frame.ExpiringFrame
		if err := json.Unmarshal([]byte(g.raw), &warning); err != nil {
			t.Fatal(err)
		}
		// Tokens end at whole seconds.
		if took := time.Since(renewed); took < 53*time.Second || took > 54*time.Second || warning.ClosesAfter < 35 ||
			warning.ClosesAfter > 37 ||
			warning.ExpiresAt.Sub(renewed).Round(2*time.Second) != time.Minute {
			t.Errorf("after %s: %s", took, g.raw)
		}
		c.send(`{"type":"auth","id":"3","token":%q}`, again)
		c.want("the same token again", frame.Welcome)
		for range 10 {
			time.Sleep(time.Second)
			c.wantAlive("it was not warned of again")
		}
		c.wantClose("it has ended", 4002)
		if took := time.Since(renewed); took < 89*time.Second || took > 90*time.Second {
			t.Errorf("closed after %s", took)
		}

		began := time.Now()
		c = w.dial(w.token("acme", "alice", 20*time.Minute))
		for time.Since(began) < 18*time.Minute+45*time.Second {
			time.Sleep(5 * time.Second)
			c.wantAlive("a token of twenty minutes")
		}
		c.want("it is about to end", frame.Expiring)
		if left := 20*time.Minute - time.Since(began); left < 59*time.Second || left > 62*time.Second {
			t.Errorf("warned %s before the end", left)
		}
		c.send(`{"type":"auth","id":"4","token":%q}`, w.token("acme", "alice", 30*time.Second))
		c.want("renewed in time", frame.Welcome)
		c.want("and warned of the new one", frame.Expiring)
		c.send(`{"type":"auth","id":"5","token":%q}`, w.token("acme", "alice", 290*365*24*time.Hour))
		c.want("one that ends in 290 years", frame.Welcome)
		c.wantAlive("it has not ended")
	})
}

func TestAnAnonymousSocketMayTakeAnIdentity(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"auth","id":"1","token":%q}`, w.token("acme", "alice", time.Hour))
		c.want("it takes one", frame.Welcome)
		ack := c.submit()
		w.eventually("the tracker knows the job", func() bool { return w.tracker.version(ack.JobID) > 0 })
		if a := w.http("GET", "/v1/jobs/"+ack.JobID, w.header("local", "alice"), nil); a.status != 404 {
			t.Errorf("tenant local reads a job of acme: %d %s", a.status, a.body)
		}
		other := w.dial("")
		other.submit()
		other.want("it watches", frame.Status)
		other.send(`{"type":"auth","id":"1","token":%q}`, w.token("acme", "alice", time.Hour))
		other.wantError("it has jobs of another identity", "forbidden")
	})
}

// TestAnIdleSessionIsPinged: and one that has written long ago still answers the client's
// own pings. (A write deadline that had been left behind once ended the pong.)
func TestAnIdleSessionIsPinged(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			_, _, err := c.ws.Read(ctx) // answers pings
			ended <- err
		}()
		for range 10 {
			time.Sleep(time.Minute)
			if err := c.ws.Ping(t.Context()); err != nil {
				t.Fatalf("a client's ping: %v", err)
			}
		}
		cancel()
		if err := <-ended; err == nil {
			t.Error("reading goes on after its context ended")
		}
	})
}

func TestAHalfOpenSocketIsClosed(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		c := w.dial("")
		read := make(chan struct{})
		go func() { // the bytes, and answers no ping
			defer close(read)
			_, _ = io.Copy(io.Discard, c.raw)
		}()
		time.Sleep(time.Minute)
		<-read
		if n := w.gauge("ackwire_gateway_session_closes_total", "4001"); n != 1 {
			t.Errorf("%v sessions were closed for a missing pong, want 1", n)
		}
		if n := w.gauge("ackwire_gateway_sessions"); n != 0 {
			t.Errorf("%v sessions are open", n)
		}
	})
}

func TestASlowClientIsClosedAndNobodyWaitsForIt(t *testing.T) {
	inWorld(t, func(c *Config) { c.FrameRate = 1e6 }, func(t *testing.T, w *world) {
		slow, quick := w.dial(""), w.dial("")
		// It sends pings and reads no pong.
		go func() {
			for i := 0; ; i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				err := slow.ws.Write(ctx, websocket.MessageText, fmt.Appendf(nil, `{"type":"ping","id":"%d"}`, i))
				cancel()
				if err != nil {
					return
				}
			}
		}()
		for range 10 {
			quick.wantAlive("another client")
			time.Sleep(time.Second)
		}
		w.eventually("the slow one is closed", func() bool {
			return w.gauge("ackwire_gateway_session_closes_total", "4000") == 1
		})
	})
}

func TestLimitsOfASession(t *testing.T) {
	inWorld(t, func(c *Config) { c.Subscriptions, c.InFlightSubmits, c.Sessions = 2, 3, 3 }, func(t *testing.T, w *world) {
		c := w.dial("")
		c.send(`{"type":"subscribe","id":"1","jobs":[{"jobId":"a"},{"jobId":"b"},{"jobId":"c"}]}`)
		c.wantError("more jobs in a frame than a session may watch", "limit_exceeded")
		for range 2 {
			c.submit()
			c.want("it is watched", frame.Status)
		}
		c.send(`{"type":"submit","id":"3","job":"demo.echo","payload":1}`)
		c.wantError("a third watched job", "limit_exceeded")
		c.send(`{"type":"submit","id":"3","job":"demo.echo","payload":1,"watch":false}`)
		c.want("one that is not watched", frame.Ack)
		c.send(`{"type":"subscribe","id":"4","jobs":[{"jobId":%q}]}`, jobA)
		if g := c.want("a third subscription", frame.Subscribed); !strings.Contains(g.raw, `"limit_exceeded"`) {
			t.Errorf("subscribed %s", g.raw)
		}

		w.net.Host("broker").Hang()
		for i := range 4 {
			c.send(`{"type":"submit","id":"%d","job":"demo.echo","payload":1,"watch":false}`, i)
		}
		if g := c.wantError("a fourth submit in flight", "limit_exceeded"); g.ID != "3" {
			t.Errorf("refused was %s", g.raw)
		}
		w.net.Host("broker").Heal()
		for range 3 {
			if g, err := c.read(settled); err != nil || g.Type != frame.Ack && g.Code != "indeterminate" {
				t.Errorf("a submit in flight was answered %s, %v", g.raw, err)
			}
		}

		w.dial("")
		w.dial("")
		_, r, err := w.dialRaw(dialOptions{})
		if err == nil || r == nil || r.StatusCode != http.StatusServiceUnavailable || r.Header.Get("Retry-After") == "" {
			t.Errorf("a fourth socket was not refused with 503 and Retry-After: %v, %v", r, err)
		}
	})
}

// TestAClientMaySendBeforeItHasReadTheHandshake: bytes that net/http has read ahead are not lost.
func TestAClientMaySendBeforeItHasReadTheHandshake(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		conn, err := w.net.Host("client").Dial(t.Context(), "tcp", gatewayAddr)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		ping := []byte{0x81, 0x80 | 15, 0, 0, 0, 0}
		ping = append(ping, `{"type":"ping"}`...)
		handshake := "GET /v1/ws HTTP/1.1\r\nHost: " + gatewayAddr + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: " +
			"ackwire.v1\r\n\r\n"
		if _, err := conn.Write(append([]byte(handshake), ping...)); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		var all []byte
		buf := make([]byte, 4096)
		for !strings.Contains(string(all), `"pong"`) {
			n, err := conn.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil {
				t.Fatalf("%v after %q", err, all)
			}
		}
	})
}

// TestDrainWaits: not ready at once, so that load balancers turn elsewhere, and open to all
// who still come until then.
func TestDrainWaits(t *testing.T) {
	inWorld(t, func(c *Config) { c.DrainWait = 20 * time.Second }, func(t *testing.T, w *world) {
		c := w.dial("")
		began := time.Now()
		w.stop()
		time.Sleep(time.Second)
		if err := w.gateway.Ready(); err == nil {
			t.Error("it is ready though it is to stop")
		}
		w.dial("").submit()
		c.wantAlive("a socket that was open")
		go func() { time.Sleep(10 * time.Second); c.send(`{"type":"ping","id":"late"}`) }()
		c.want("an answer", frame.Pong)
		c.want("and then goaway", frame.Goaway)
		if took := time.Since(began).Round(time.Second); took != 20*time.Second {
			t.Errorf("it drained after %s", took)
		}
	})
}

func TestDrain(t *testing.T) {
	inWorld(t, nil, func(t *testing.T, w *world) {
		w.tracker.set("local", jobA, 7, "processing")
		c := w.dial("")
		polled := make(chan answer, 1)
		go func() {
			polled <- w.http("GET", "/v1/jobs/"+jobA, http.Header{"Prefer": {"wait=60"}}, nil)
		}()
		time.Sleep(time.Second)
		w.net.Host("broker").Hang() // a submit that is in flight when the drain begins
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1}`)
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		w.stop()
		g := c.want("goaway comes at once", frame.Goaway)
		if took := time.Since(began); took > time.Second || g.ReconnectAfter < 0 || g.ReconnectAfter > 2 {
			t.Errorf("after %s: %s", took, g.raw)
		}
		if err := w.gateway.Ready(); err == nil {
			t.Error("the gateway is ready while it drains")
		}
		w.net.Host("broker").Heal()
		ack := c.want("the submit gets its true outcome", frame.Ack)
		for {
			g, err := c.read(settled)
			if err == nil {
				if g.Type != frame.Status || !strings.Contains(g.raw, ack.JobID) {
					t.Errorf("between ack and close came %s", g.raw)
				}
				continue
			}
			var closed websocket.CloseError
			if !errors.As(err, &closed) || closed.Code != websocket.StatusServiceRestart {
				t.Errorf("want close 1012, got %v", err)
			}
			break
		}
		if a := <-polled; a.status != 200 || !strings.Contains(a.body, jobA) {
			t.Errorf("a long poll was answered %d %s", a.status, a.body)
		}
		w.stopGateway()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the drain took %s", took)
		}
	})
}

// TestSessionsEndWhileTheyAreTold: clients leave in the very moment in which the drain tells
// them to. (A flush once began beside the wait for the last one.)
func TestSessionsEndWhileTheyAreTold(t *testing.T) {
	for range 20 {
		inWorld(t, nil, func(t *testing.T, w *world) {
			var clients []*client
			for range 20 {
				clients = append(clients, w.dial(""))
			}
			var leaving sync.WaitGroup
			for _, c := range clients {
				leaving.Go(func() { _ = c.ws.CloseNow() })
			}
			w.stop()
			leaving.Wait()
			w.stopGateway()
		})
	}
}
