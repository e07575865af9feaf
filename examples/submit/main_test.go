package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/ackwiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSubmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		ackwiretest.Handle(srv, Echo, func(_ context.Context, _ *ackwiretest.Job, m Message) (Message, error) {
			if m.Text == "" {
				return Message{}, &ackwiretest.Failure{Code: "silence", Message: "there is nothing to say"}
			}
			return m, nil
		})
		var out strings.Builder
		if err := run(t.Context(), &out, "good morning", srv.URL(), srv.Option()); err != nil {
			t.Fatal(err)
		}
		if s := out.String(); !strings.HasPrefix(s, "durable: ") || !strings.HasSuffix(s, "completed\ngood morning\n") {
			t.Errorf("it printed %s", s)
		}
		err := run(t.Context(), &out, "", srv.URL(), srv.Option())
		if err == nil || err.Error() != "no echo: there is nothing to say" {
			t.Errorf("a job that fails: %v", err)
		}
	})
}
