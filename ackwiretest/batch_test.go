package ackwiretest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/ackwiretest"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

type batcher interface {
	SubmitBatch(ctx context.Context, items []ackwire.BatchItem) ([]ackwire.BatchResult, error)
	List(ctx context.Context, o ackwire.ListOptions) (ackwire.Page, error)
}

// jobs returns how many jobs there are.
func jobs(t *testing.T, c batcher) int {
	t.Helper()
	page, err := c.List(t.Context(), ackwire.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(page.Jobs)
}

func outcomes(results []ackwire.BatchResult) (all []frame.Outcome) {
	for _, r := range results {
		all = append(all, r.Outcome())
	}
	return all
}

// TestBatch: a batch has one result for each item, whatever became of the others, and its jobs are followed.
func TestBatch(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx, c := within(t, time.Hour), client.(batcher)
		srv.Types("a", "b")
		srv.Handle("a", func(context.Context, *ackwiretest.Job) (any, error) { return "done", nil })
		key := []ackwire.SubmitOption{ackwire.Key("k")}
		results, err := c.SubmitBatch(ctx, []ackwire.BatchItem{
			{Type: "a", Payload: 1}, {Type: "none", Payload: 1}, {Type: "a", Payload: 2, Options: key},
			{Type: "a", Payload: 2, Options: key}, {Type: "a", Payload: 3, Options: key},
			{Type: "b", Payload: 1, Options: []ackwire.SubmitOption{ackwire.NoWatch(), ackwire.NoKey()}},
		})
		want := []frame.Outcome{frame.Acked, frame.Refused, frame.Acked, frame.Acked, frame.Refused, frame.Acked}
		if err != nil || !slices.Equal(outcomes(results), want) {
			t.Fatalf("%v, %+v", err, results)
		}
		if ackwire.CodeOf(results[1].Err) != code.UnknownJobType ||
			ackwire.CodeOf(results[4].Err) != code.IdempotencyKeyReused {
			t.Errorf("refused: %v; %v", results[1].Err, results[4].Err)
		}
		if results[2].Job.Duplicate || !results[3].Job.Duplicate || results[2].Job.ID != results[3].Job.ID {
			t.Errorf("two items of one key: %+v, %+v", results[2].Job, results[3].Job)
		}
		if n := jobs(t, c); n != 3 {
			t.Errorf("%d jobs, want 3", n)
		}
		if st, err := results[0].Job.Wait(ctx); err != nil || st.State != "completed" {
			t.Errorf("a job of a batch: %+v, %v", st, err)
		}

		for what, items := range map[string][]ackwire.BatchItem{
			"no items": nil, "too many": make([]ackwire.BatchItem, ackwire.MaxBatch+1),
			"a payload that is none": {{Type: "a", Payload: 1}, {Type: "a", Payload: func() {}}},
		} {
			if results, err := c.SubmitBatch(ctx, items); err == nil || results != nil {
				t.Errorf("%s: %v, %v", what, results, err)
			}
		}
	})
}

// TestBatchTooLarge: a batch is not split, and its error names the bound.
func TestBatchTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ackwiretest.New(t).Dial(t)
		items := make([]ackwire.BatchItem, 5)
		for i := range items {
			items[i] = ackwire.BatchItem{Type: "a", Payload: strings.Repeat("x", 64<<10)}
		}
		if results, err := c.SubmitBatch(within(t, time.Hour), items); ackwire.CodeOf(err) != code.PayloadTooLarge {
			t.Errorf("320 KiB: %+v, %v", results, err)
		}
		if results, err := c.SubmitBatch(within(t, time.Hour), items[:3]); err != nil || results[2].Err != nil {
			t.Errorf("192 KiB: %+v, %v", results, err)
		}
	})
}

// TestFaultsOfABatch: items whose outcome is not known are sent again with their keys, the others are not.
func TestFaultsOfABatch(t *testing.T) {
	clients(t, func(t *testing.T, srv *ackwiretest.Server, client ackwire.Submitter) {
		ctx, c := within(t, time.Hour), client.(batcher)
		items := []ackwire.BatchItem{
			{Type: "a", Payload: 1}, {Type: "a", Payload: 2},
			{Type: "a", Payload: 3, Options: []ackwire.SubmitOption{ackwire.NoKey()}},
		}
		srv.Refuse(2, code.Indeterminate)
		results, err := c.SubmitBatch(ctx, items)
		if err != nil || !slices.Equal(outcomes(results), []frame.Outcome{frame.Acked, frame.Acked, frame.Acked}) {
			t.Errorf("indeterminate: %v, %+v", err, results)
		}
		if n := jobs(t, c); n != 3 {
			t.Errorf("%d jobs, want 3", n)
		}
		srv.Refuse(1, code.Overloaded)
		results, err = c.SubmitBatch(ctx, items)
		if err != nil || ackwire.CodeOf(results[0].Err) != code.Overloaded || results[1].Err != nil || results[2].Err != nil {
			t.Errorf("one is refused: %v, %+v", err, results)
		}
		srv.LoseAcks(1)
		results, err = c.SubmitBatch(ctx, items)
		if err != nil || !slices.Equal(outcomes(results), []frame.Outcome{frame.Acked, frame.Acked, frame.Unknown}) {
			t.Fatalf("the answer is lost: %v, %+v", err, results)
		}
		if !results[0].Job.Duplicate || !errors.Is(results[2].Err, ackwire.ErrIndeterminate) {
			t.Errorf("the answer is lost: %+v, %v", results[0].Job, results[2].Err)
		}
		srv.LoseAcks(1)
		results, err = c.SubmitBatch(ctx, items[:2])
		if err != nil || !results[0].Job.Duplicate || !results[1].Job.Duplicate {
			t.Errorf("the answer is lost, all have keys: %v, %+v", err, results)
		}
		ended, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		srv.DelayAcks(time.Minute)
		results, err = c.SubmitBatch(ended, items[:2])
		if err != nil || !errors.Is(results[0].Err, context.DeadlineExceeded) || results[0].Outcome() != frame.Unknown {
			t.Errorf("the time is over: %v, %+v", err, results)
		}
	})
}
