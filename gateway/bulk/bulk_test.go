package bulk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

func items(keys ...string) []Item {
	all := make([]Item, len(keys))
	for i, key := range keys {
		all[i].Request = frame.SubmitRequest{Job: "a", Key: key}
	}
	return all
}

// TestRun: items run together up to the bound, those of one key in order, and refused ones not at all.
func TestRun(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		all := items("", "k", "", "k", "", "k", "l", "")
		all[4].Err = frame.NewProblem(code.InvalidFrame, "")
		var running, most atomic.Int32
		var mu sync.Mutex
		var order []int
		results := Run(t.Context(), all, 3, func(_ context.Context, i int) Result {
			for n := running.Add(1); n > most.Load(); {
				most.Store(n)
			}
			defer running.Add(-1)
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			order = append(order, i)
			return Result{Version: int64(i + 1)}
		})
		for i, r := range results {
			switch {
			case i == 4 && (r.Err == nil || r.Version != 0):
				t.Errorf("the refused item has run: %+v", r)
			case i != 4 && r.Version != int64(i+1):
				t.Errorf("item %d: %+v", i, r)
			}
		}
		keyed := slices.DeleteFunc(slices.Clone(order), func(i int) bool { return all[i].Request.Key != "k" })
		if !slices.Equal(keyed, []int{1, 3, 5}) || most.Load() != 3 {
			t.Errorf("ran in the order %v, at most %d together", order, most.Load())
		}
	})
}

// TestRunEnds checks that submits that have begun go on when the context ends, and that the others are refused as
// retryable.
func TestRunEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			what string
			end  func() (context.Context, context.CancelFunc)
			code code.Code
		}{
			{"its time is over", func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(t.Context(), time.Second)
			}, code.Overloaded},
			{"its client has left", func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				return ctx, cancel
			}, code.Unavailable},
		} {
			ctx, cancel := c.end()
			results := Run(ctx, items("", "k", "k", "", ""), 2, func(ctx context.Context, i int) Result {
				time.Sleep(2 * time.Second)
				return Result{Version: 1, Err: ctx.Err()}
			})
			cancel()
			for i, r := range results {
				var p frame.Problem
				switch begun := i < 2; {
				case begun && (r.Err != nil || r.Version != 1):
					t.Errorf("%s: item %d had begun: %+v", c.what, i, r)
				case !begun && (!errors.As(r.Err, &p) || p.Code != c.code || !p.Retryable || p.RetryAfter <= 0):
					t.Errorf("%s: item %d: %+v", c.what, i, r)
				}
			}
		}
	})
}

// TestAnswer: the three outcomes, and the bound of what an answer tells beside them.
func TestAnswer(t *testing.T) {
	var failed []error
	bug := errors.New("a bug")
	got := Answer([]Result{
		{Ack: frame.AckFrame{JobID: "j"}},
		{Err: frame.NewProblem(code.Overloaded, "full")},
		{Err: fmt.Errorf("wrapped: %w", frame.NewProblem(code.Indeterminate, ""))},
		{Err: bug},
	}, func(err error) { failed = append(failed, err) })
	for i, want := range []frame.Outcome{frame.Acked, frame.Refused, frame.Unknown, frame.Unknown} {
		acked := want == frame.Acked
		if got[i].Outcome != want || (got[i].Ack != nil) != acked || (got[i].Error == nil) != acked {
			t.Errorf("result %d: %+v, want %s", i, got[i], want)
		}
	}
	if len(failed) != 1 || failed[0] != bug || got[3].Error.Code != code.Internal {
		t.Errorf("a bug: %v, %+v", failed, got[3].Error)
	}
	many := make([]Result, frame.MaxBatch)
	for i := range many {
		p := frame.NewProblem(code.ValidationFailed, strings.Repeat("d", 300))
		p.Errors = []frame.FieldError{{Pointer: "/a", Detail: strings.Repeat("e", 1000)}}
		many[i].Err = p
	}
	bytes := 0
	for i, r := range Answer(many, nil) {
		if r.Error.Code != code.ValidationFailed || r.Error.Title == "" {
			t.Fatalf("result %d: %+v", i, r.Error)
		}
		bytes += len(r.Error.Detail)
		for _, e := range r.Error.Errors {
			bytes += len(e.Detail)
		}
	}
	if bytes > maxDetails || bytes < maxDetails/2 {
		t.Errorf("%d bytes of details", bytes)
	}
	if err := FirstError(many); err == nil || FirstError(append(many, Result{})) != nil {
		t.Errorf("the first error is %v", err)
	}
}
