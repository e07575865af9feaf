package gateway

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestStrangersAreNotFelt: connections without an identity share a bound, in which the oldest makes room for a new one,
// and users keep their connections and can open more.
func TestStrangersAreNotFelt(t *testing.T) {
	inWorld(t, func(c *Config) {
		tokensOnly(c)
		c.Connections, c.Strangers, c.AddressStrangers = 12, 6, 0
	}, func(t *testing.T, w *world) {
		w.tracker.set("acme", jobA, 7, job.Processing)
		dials := 0
		transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			return w.dialFrom(ctx, "client", network, address)
		}}
		defer transport.CloseIdleConnections()
		user := func(what string) {
			t.Helper()
			r, err := http.NewRequest("GET", "http://"+gatewayAddr+"/v1/jobs/"+jobA, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+w.token("acme", "alice", time.Hour))
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if _ = resp.Body.Close(); resp.StatusCode != 200 {
				t.Fatalf("%s: %d", what, resp.StatusCode)
			}
		}
		user("at first")
		socket, _, err := w.as("acme", "alice")
		if err != nil {
			t.Fatal(err)
		}
		socket.want("a session", frame.Welcome)
		for i := range 60 {
			s := w.slow("it says nothing")
			switch i % 3 { // or little
			case 1:
				_, _ = s.conn.Write([]byte("G"))
			case 2:
				_, _ = s.conn.Write([]byte("GET /v1/jobs HTTP/1.1\r\nHost: x\r\n"))
			}
			if i%10 == 0 {
				user("over the connection that it has")
				if a := w.http("GET", "/v1/jobs/"+jobA,
					w.header("acme", "bob", "read:tenant"), nil); a.status != 200 {
					t.Fatalf("over a new one: %d %s", a.status, a.body)
				}
			}
		}
		if dials != 1 {
			t.Errorf("the user's connection was closed: %d were dialled", dials)
		}
		if n := w.gauge("ackwire_gateway_strangers"); n > 6 {
			t.Errorf("%v strangers wait", n)
		}
		if n := w.gauge("ackwire_gateway_http_connections"); n > 8 {
			t.Errorf("%v connections are open", n)
		}
		if n := w.gauge("ackwire_gateway_turned_away_total", "strangers"); n < 50 {
			t.Errorf("%v strangers were turned away", n)
		}
		socket.wantAlive("a socket")
	})
}

// TestSocketsOfStrangers share the bound, until they have an identity.
func TestSocketsOfStrangers(t *testing.T) {
	inWorld(t, func(c *Config) { tokensOnly(c); c.Strangers, c.AddressStrangers = 3, 0 }, func(t *testing.T, w *world) {
		var all []*client
		for i := range 4 {
			c, _, err := w.dialRaw(dialOptions{})
			if err != nil {
				t.Fatal(err)
			}
			// A socket is counted a moment after its handshake is answered; the order is that of arrival.
			synctest.Wait()
			if all = append(all, c); i == 1 {
				c.send(`{"type":"auth","token":%q}`, w.token("acme", "alice", time.Hour))
				c.want("an identity", frame.Welcome)
			}
		}
		c, _, err := w.dialRaw(dialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c.send(`{"type":"auth","token":%q}`, w.token("acme", "alice", time.Hour))
		c.want("the one that came last", frame.Welcome)
		all[0].wantClose("the one that has waited for longest", 1013)
		all[1].wantAlive("one that has an identity")
	})
}

// TestAStrangersConnectionIsNotKept: an error that is told to nobody in particular ends it.
func TestAStrangersConnectionIsNotKept(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		for _, request := range []string{
			"GET /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n", "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n",
			"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: 0\r\n\r\n",
		} {
			s := w.slow(request)
			_, _ = s.conn.Write([]byte(request))
			_ = s.conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			var answer strings.Builder
			b := make([]byte, 4<<10)
			for {
				n, err := s.conn.Read(b)
				answer.Write(b[:n])
				if err != nil {
					if strings.Contains(err.Error(), "timeout") {
						t.Errorf("%q: it stays open", request)
					}
					break
				}
			}
			if !strings.Contains(answer.String(), "Connection: close") {
				t.Errorf("%q: %s", request, answer.String())
			}
		}
	})
}
