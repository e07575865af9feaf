package ackwiretest_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestGrants follows jobs by grants, of an ack and of a request, until they end.
func TestGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		srv.RequireToken("good")
		ctx := within(t, time.Hour)
		backend := srv.Dial(t, ackwire.WithToken("good"))
		if _, err := backend.Submit(ctx, "mail.send", 1, ackwire.WithGrant(0)); ackwire.CodeOf(err) != code.InvalidFrame {
			t.Errorf("for no time: %v", err)
		}
		j, err := backend.Submit(ctx, "mail.send", 1, ackwire.WithGrant(time.Minute))
		if err != nil || j.Grant.Token == "" || time.Until(j.Grant.Expires) > time.Minute {
			t.Fatalf("%+v, %v", j, err)
		}
		made, err := backend.Grant(ctx, ackwire.GrantRequest{Jobs: []string{j.ID}, TTL: time.Minute})
		if err != nil || made.Token == j.Grant.Token {
			t.Fatalf("%+v, %v", made, err)
		}
		if _, err := backend.Grant(ctx, ackwire.GrantRequest{TTL: time.Minute}); ackwire.CodeOf(err) != code.InvalidFrame {
			t.Errorf("for no jobs: %v", err)
		}
		srv.Next(t, "mail.send").Complete("sent")
		for _, g := range []ackwire.Grant{j.Grant, made} {
			page := srv.Dial(t, ackwire.WithToken(g.Token))
			if st, err := page.Job(j.ID).Wait(ctx); err != nil || st.State != job.Completed {
				t.Errorf("%+v, %v", st, err)
			}
		}
		web := page(t, srv)
		get := func(path, grant string) int {
			resp, err := web.Get(srv.URL() + "/v1/jobs/" + j.ID + path + "?grant=" + grant)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		for path, want := range map[string]int{"/events": 200, "/result": 200, "": 403, "/why": 403} {
			if status := get(path, made.Token); status != want {
				t.Errorf("a grant in the URL of %s: %d", path, status)
			}
		}
		if status := get("/events", "other"); status != http.StatusUnauthorized {
			t.Errorf("no grant: %d", status)
		}
		time.Sleep(time.Minute + 31*time.Second) // clocks may differ by half a minute
		if status := get("/events", made.Token); status != http.StatusUnauthorized {
			t.Errorf("after its end: %d", status)
		}
	})
}

// TestGrantsRestrict opens one of two jobs by a grant, at the doors of pages. The scripts of clients/testdata/servers
// are about all others.
func TestGrantsRestrict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		ctx := within(t, time.Hour)
		backend := srv.Dial(t)
		a, err := backend.Submit(ctx, "mail.send", 1, ackwire.WithGrant(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		b, err := backend.Submit(ctx, "mail.send", 2)
		if err != nil {
			t.Fatal(err)
		}
		web := page(t, srv)
		ask := func(path string) (int, string) {
			t.Helper()
			resp, err := web.Get(srv.URL() + path + "grant=" + a.Grant.Token)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			if policy := resp.Header.Get("Referrer-Policy"); policy != "no-referrer" {
				t.Errorf("%s: Referrer-Policy is %q", path, policy)
			}
			return resp.StatusCode, string(body)
		}
		for path, want := range map[string]int{
			"/v1/jobs/" + b.ID + "/events?": 404, "/v1/events?job=" + b.ID + "&": 404, "/v1/events?mine=true&": 403,
		} {
			if status, body := ask(path); status != want {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
		began := time.Now()
		status, body := ask("/v1/events?job=" + a.ID + "&job=" + b.ID + "&")
		if took := time.Since(began); status != http.StatusOK || took < 89*time.Second || took > 91*time.Second {
			t.Errorf("a stream of both: %d, for %s", status, took)
		}
		last := -1
		for _, part := range []string{
			"event: refused\ndata: {\"jobId\":\"" + b.ID + "\",\"error\":\"not_found\"}", `"jobId":"` + a.ID + `"`,
			"event: expiring\ndata: ", `"closesAfter":3`, "event: error\ndata: ", `"code":"unauthenticated"`,
		} {
			at := strings.Index(body, part)
			if at <= last {
				t.Errorf("%s is at %d, behind %d, in %s", part, at, last, body)
			}
			last = at
		}
	})
}

// TestARefusedRenewal ends the socket, behind the frame that says so.
func TestARefusedRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		srv.RequireToken("good")
		ws, _, err := websocket.Dial(t.Context(), srv.URL()+"/v1/ws", &websocket.DialOptions{
			HTTPClient: page(t, srv), Subprotocols: []string{"ackwire.v1", "ackwire.bearer.good"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{`{"type":"auth","id":"1"}`, `{"type":"auth","id":"2","token":"bad"}`} {
			if err := ws.Write(t.Context(), websocket.MessageText, []byte(f)); err != nil {
				t.Fatal(err)
			}
		}
		for _, want := range []string{`"welcome"`, `"id":"1","code":"invalid_frame"`, `"id":"2","code":"unauthenticated"`} {
			if _, b, err := ws.Read(t.Context()); err != nil || !strings.Contains(string(b), want) {
				t.Errorf("%s, %v, want %s", b, err, want)
			}
		}
		if _, b, err := ws.Read(t.Context()); websocket.CloseStatus(err) != 4500 {
			t.Errorf("%s, %v", b, err)
		}
	})
}
