package ackwiretest_test

import (
	"io"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
)

// TestPast checks the history of a job, in pages, and its payload.
func TestPast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := ackwiretest.New(t)
		c := s.NewHTTP(t)
		j, err := c.Submit(t.Context(), "order", map[string]int{"n": 7})
		if err != nil {
			t.Fatal(err)
		}
		run := s.Next(t, "order")
		run.Progress(40, "half")
		run.FailAttempt("boom", "it broke")
		run = s.Next(t, "order")
		run.Complete("done")
		if _, err = j.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		var all []string
		o := ackwire.HistoryOptions{Limit: 2}
		for {
			page, err := j.History(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Events {
				all = append(all, string(e.Type)+" "+string(e.State))
				if e.By == "" || !*e.Applied || e.Attempt == 0 {
					t.Errorf("%+v", e)
				}
			}
			o.Cursor = page.NextCursor
			if o.Cursor == "" {
				break
			}
		}
		want := "accepted pending,claimed processing,progress processing,failed retrying,requeued pending," +
			"claimed processing,completed completed"
		if got := strings.Join(all, ","); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for _, o := range []ackwire.HistoryOptions{{Limit: 1001}, {Cursor: "x"}} {
			if _, err := j.History(t.Context(), o); ackwire.CodeOf(err) != code.InvalidFrame {
				t.Errorf("%+v: %v", o, err)
			}
		}
		payload, err := j.Payload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = payload.Close() }()
		if b, err := io.ReadAll(payload); err != nil || string(b) != `{"n":7}` {
			t.Errorf("%s, %v", b, err)
		}
		if _, err := c.Job("no-such").Payload(t.Context()); ackwire.CodeOf(err) != code.NotFound {
			t.Errorf("no job: %v", err)
		}
	})
}
