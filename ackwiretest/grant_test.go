package ackwiretest_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

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
		for path, want := range map[string]int{"/events": 200, "/result": 200, "": 401, "/why": 401} {
			if status := get(path, made.Token); status != want {
				t.Errorf("a grant in the URL of %s: %d", path, status)
			}
		}
		if status := get("/events", "other"); status != http.StatusUnauthorized {
			t.Errorf("no grant: %d", status)
		}
		time.Sleep(time.Minute)
		if status := get("/events", made.Token); status != http.StatusUnauthorized {
			t.Errorf("after its end: %d", status)
		}
	})
}
