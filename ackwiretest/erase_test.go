package ackwiretest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
)

// TestErase removes a job for good, once it has ended.
func TestErase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := ackwiretest.New(t)
		ctx := within(t, time.Hour)
		c := srv.Dial(t)
		j, err := c.Submit(ctx, "mail.send", 1, ackwire.Key("k"))
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Erase(ctx); ackwire.CodeOf(err) != code.InvalidState {
			t.Errorf("a job that has not ended: %v", err)
		}
		if _, err := j.Cancel(ctx); err != nil {
			t.Fatal(err)
		}
		if err := j.Erase(ctx); err != nil {
			t.Error(err)
		}
		_, got := j.Get(ctx)
		_, again := c.Submit(ctx, "mail.send", 1, ackwire.Key("k"))
		for what, err := range map[string]error{"erased again": j.Erase(ctx), "get": got, "its key": again} {
			if ackwire.CodeOf(err) != code.NotFound {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
