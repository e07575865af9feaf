package ackwiretest

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestBulk counts, retries, cancels and erases all jobs that match.
func TestBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		c := s.Dial(t)
		ctx := t.Context()
		submit := func(jobType string) *ackwire.Job {
			j, err := c.Submit(ctx, jobType, 1)
			if err != nil {
				t.Fatal(err)
			}
			return j
		}
		var reports []string
		for range 3 {
			reports = append(reports, submit("report").ID)
			s.Next(t, "report").Fail("fire", "the printer is on fire")
		}
		submit("other")
		s.Next(t, "other").Complete(1)
		submit("other")
		failed := ackwire.BulkOrder{Action: ackwire.BulkRetry, Filter: ackwire.ListOptions{Types: []string{"report"}}}
		p, err := c.PreviewBulk(ctx, failed)
		slices.Reverse(reports)
		if err != nil || p.Count != 3 || !slices.Equal(p.Examples, reports) {
			t.Fatalf("%+v, %v", p, err)
		}
		_, err = c.Bulk(ctx, failed, 2)
		var e *ackwire.Error
		if !errors.As(err, &e) || e.Code != code.CountDiffers || e.Count == nil || *e.Count != 3 {
			t.Fatalf("another number: %v", err)
		}
		order := func(o ackwire.BulkOrder, n int64) {
			t.Helper()
			b, err := c.Bulk(ctx, o, n)
			if err != nil {
				t.Fatal(err)
			}
			st, err := b.Wait(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if r, err := ackwire.BulkResultOf(st); err != nil || r.Done != n || r.Matched != n || r.Action != o.Action {
				t.Errorf("%+v, %v", r, err)
			}
		}
		order(failed, 3)
		for range 3 {
			if j := s.Next(t, "report"); j.Attempt != 2 {
				t.Errorf("attempt %d", j.Attempt)
			} else {
				j.Complete("printed")
			}
		}
		order(ackwire.BulkOrder{Action: ackwire.BulkCancel}, 1)
		// All have ended, and bulk actions are not among them.
		order(ackwire.BulkOrder{Action: ackwire.BulkErase}, 5)
		if _, err := c.Job(reports[0]).Get(ctx); ackwire.CodeOf(err) != code.NotFound {
			t.Errorf("an erased job: %v", err)
		}
		for what, o := range map[string]ackwire.BulkOrder{
			"no action": {}, "a state that is not possible": {Action: ackwire.BulkCancel,
				Filter: ackwire.ListOptions{States: []job.State{job.Failed}}},
		} {
			if _, err := c.PreviewBulk(ctx, o); ackwire.CodeOf(err) != code.InvalidFrame {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// TestBulkNeedsItsPermissions: an order needs what the single order needs, and no grant permits it.
func TestBulkNeedsItsPermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		g, err := s.Dial(t).Grant(t.Context(), ackwire.GrantRequest{Types: []string{"report"}, TTL: 3600e9})
		if err != nil {
			t.Fatal(err)
		}
		api := s.NewHTTP(t, ackwire.WithToken(g.Token))
		for _, action := range frame.BulkActions {
			if _, err := api.PreviewBulk(t.Context(), ackwire.BulkOrder{Action: action}); ackwire.CodeOf(err) != code.Forbidden {
				t.Errorf("%s by a grant: %v", action, err)
			}
		}
	})
}

// TestWorkers: there are those that the test has set, for who may operate.
func TestWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(t)
		api := s.NewHTTP(t)
		if all, err := api.Workers(t.Context()); err != nil || len(all.Workers) != 0 || all.AsOf.IsZero() {
			t.Errorf("%+v, %v", all, err)
		}
		s.ShowWorkers(frame.Workers{Workers: []frame.Worker{{Worker: "w1", Running: 7}}})
		if all, err := api.Workers(t.Context()); err != nil || len(all.Workers) != 1 || all.Workers[0].Running != 7 {
			t.Errorf("%+v, %v", all, err)
		}
		s.RequireToken("a token")
		if _, err := s.NewHTTP(t, ackwire.WithToken("a token")).Workers(t.Context()); ackwire.CodeOf(err) != code.Forbidden {
			t.Errorf("a user: %v", err)
		}
	})
}
