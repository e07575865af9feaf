package gateway

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
)

// ticket asks for one.
func (w *world) ticket(header http.Header) frame.Ticket {
	w.t.Helper()
	got := w.http("POST", "/v1/ws-tickets", header, nil)
	var ticket frame.Ticket
	if err := json.Unmarshal([]byte(got.body), &ticket); err != nil || got.status != http.StatusCreated ||
		got.header.Get("Cache-Control") != "no-store" {
		w.t.Fatalf("POST /v1/ws-tickets: %d %s, %v", got.status, got.body, err)
	}
	return ticket
}

// TestTickets: a ticket opens one socket with its holder's identity, once, in time.
func TestTickets(t *testing.T) {
	inWorld(t, tokensOnly, func(t *testing.T, w *world) {
		bearer := func(ttl time.Duration, permissions ...string) http.Header {
			token, err := SignToken(testKey, "acme", "alice", ttl, permissions...)
			if err != nil {
				t.Fatal(err)
			}
			return http.Header{"Authorization": {"Bearer " + token}}
		}
		refused := func(what, ticket string) {
			t.Helper()
			got := w.http("GET", "/v1/ws?ticket="+ticket, nil, nil)
			if got.status != http.StatusUnauthorized || got.code != "unauthenticated" || strings.Contains(got.body, ticket) {
				t.Errorf("%s: %d %s", what, got.status, got.body)
			}
		}
		good := w.ticket(bearer(time.Hour, "submit"))
		if len(good.Ticket) < 40 || good.URL != "/v1/ws?ticket="+good.Ticket || time.Until(good.ExpiresAt) > 30*time.Second {
			t.Fatalf("%+v", good)
		}
		c, _, err := w.dialRaw(dialOptions{query: "?ticket=" + good.Ticket})
		if err != nil {
			t.Fatal(err)
		}
		c.want("a ticket is welcomed", frame.Welcome)
		c.send(`{"type":"submit","id":"1","job":"demo.echo","payload":1}`)
		ack := c.want("a submit", frame.Ack)
		w.eventually("the job is its holder's", func() bool {
			return w.http("GET", "/v1/jobs/"+ack.JobID, bearer(time.Hour), nil).status == http.StatusOK
		})
		c.send(`{"type":"subscribe","id":"2","jobs":[]}`)
		c.wantError("it permits what the token did", "forbidden")

		refused("a second time", good.Ticket)
		refused("one that nobody made", "made-up")
		late := w.ticket(bearer(time.Hour))
		time.Sleep(31 * time.Second)
		refused("after its time", late.Ticket)

		// The socket ends with the token that the ticket was made with.
		short := w.ticket(bearer(time.Minute))
		c, _, err = w.dialRaw(dialOptions{query: "?ticket=" + short.Ticket})
		if err != nil {
			t.Fatal(err)
		}
		c.want("a ticket is welcomed", frame.Welcome)
		go c.keepReading()
		time.Sleep(2 * time.Minute)
		if n := w.gauge("ackwire_gateway_session_closes_total", "4002"); n != 1 {
			t.Errorf("%v sockets closed as their token expired", n)
		}

		if got := w.http("POST", "/v1/ws-tickets", nil, nil); got.status != http.StatusUnauthorized {
			t.Errorf("without a token: %d", got.status)
		}
	})
}
