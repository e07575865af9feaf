package processor_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

// noOdd is a check that takes no result with the word odd in it, and none that is missing.
func noOdd(jobType string, result json.RawMessage) error {
	switch {
	case len(result) == 0:
		return errors.New("is missing")
	case strings.Contains(string(result), "odd"):
		return errors.New("is odd for " + jobType + strings.Repeat("!", 2000))
	}
	return nil
}

// TestResultsAreChecked: a result that the check refuses fails its job for good, however it was made.
func TestResultsAreChecked(t *testing.T) {
	type raw = json.RawMessage
	large := raw(`["` + strings.Repeat("x", 70_000) + `"]`)
	largeAndOdd := raw(`["odd` + strings.Repeat("x", 70_000) + `"]`)
	attach := func(ctx context.Context, j *processor.Job) error {
		return j.Attach(ctx, processor.File{Name: "a.csv", Content: strings.NewReader("odd")})
	}
	for _, c := range []struct {
		what   string
		handle func(context.Context, *processor.Job) (raw, error)
		code   string // "": completed
		why    string
	}{
		{"a result that fits", func(context.Context, *processor.Job) (raw, error) { return raw(`"even"`), nil }, "", ""},
		{
			"a result that does not", func(context.Context, *processor.Job) (raw, error) { return raw(`"odd"`), nil },
			"invalid_result", "the handler's result is odd for t!!!",
		},
		{
			"no result", func(context.Context, *processor.Job) (raw, error) { return nil, nil },
			"invalid_result", "is missing",
		},
		{"a file in place of a result", func(ctx context.Context, j *processor.Job) (raw, error) {
			return nil, attach(ctx, j)
		}, "", ""},
		{"a file beside a result", func(ctx context.Context, j *processor.Job) (raw, error) {
			return raw(`"odd"`), attach(ctx, j)
		}, "invalid_result", "is odd"},
		{"an error", func(context.Context, *processor.Job) (raw, error) {
			return raw(`"odd"`), processor.WithCode("mine", errors.New("broken"))
		}, "mine", "broken"},
		{"a result in the blob store", func(context.Context, *processor.Job) (raw, error) { return large, nil }, "", ""},
		{
			"a result for the blob store that does not fit",
			func(context.Context, *processor.Job) (raw, error) { return largeAndOdd, nil }, "invalid_result", "is odd",
		},
		{"JSON that is not strict", func(context.Context, *processor.Job) (raw, error) {
			return raw(`{"a":1,"a":2}`), nil
		}, "invalid_result", "handler's result"},
	} {
		got, err := processortest.Run(t.Context(), func(p *processor.Processor) {
			p.Use(func(next processor.RawHandler) processor.RawHandler { return next })
			processor.HandleRaw(p, "t", func(ctx context.Context, j *processor.Job, _ []byte) (raw, error) {
				return c.handle(ctx, j)
			})
		}, processortest.Job{Type: "t"}, processor.WithResultCheck(noOdd))
		if err != nil {
			t.Fatal(err)
		}
		if c.code == "" {
			if got.Event != event.Completed {
				t.Errorf("%s: %+v", c.what, got)
			}
			continue
		}
		f := got.Failure
		if got.Event != event.Failed || f == nil || f.Code != c.code || !strings.Contains(f.Message, c.why) ||
			f.Retryable != (c.code == "mine") || len(f.Message) > 1024 {
			t.Errorf("%s: %s %+v", c.what, got.Event, f)
		}
	}
}

// TestAMiddlewareCannotPassTheCheck: the check sees what middleware has made of a result.
func TestAMiddlewareCannotPassTheCheck(t *testing.T) {
	got, err := processortest.Run(t.Context(), func(p *processor.Processor) {
		p.Use(func(processor.RawHandler) processor.RawHandler {
			return func(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
				return json.RawMessage(`"odd"`), nil
			}
		})
		processor.Handle(p, "t", func(context.Context, *processor.Job, any) (string, error) { return "even", nil })
	}, processortest.Job{Type: "t"}, processor.WithResultCheck(noOdd))
	if err != nil || got.Failure == nil || got.Failure.Code != processor.CodeInvalidResult {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestACheckThatPanics fails the job as a handler's panic does, and not the worker.
func TestACheckThatPanics(t *testing.T) {
	got, err := processortest.Run(t.Context(), func(p *processor.Processor) {
		processor.Handle(p, "t", func(context.Context, *processor.Job, any) (string, error) { return "even", nil })
	}, processortest.Job{Type: "t"}, processor.WithResultCheck(func(string, json.RawMessage) error { panic("bug") }))
	if err != nil || got.Failure == nil || got.Failure.Code != "handler_panic" {
		t.Errorf("%+v, %v", got, err)
	}
}
