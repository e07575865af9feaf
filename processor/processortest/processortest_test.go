package processortest_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

func block(p *processor.Processor) {
	processor.HandleRaw(p, "block", func(ctx context.Context, _ *processor.Job, _ []byte) (json.RawMessage, error) {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	})
}

func TestContextsEnd(t *testing.T) {
	for cause, want := range map[error]struct {
		event event.Type
		code  string
	}{
		processor.ErrCancelled: {event.Failed, job.CodeCancelled},
		processor.ErrShutdown:  {event.Released, ""},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		got, err := processortest.Run(ctx, block, processortest.Job{Type: "block"})
		if err != nil || got.Event != want.event || got.Failure != nil && got.Failure.Code != want.code {
			t.Errorf("%v: got %+v, %v", cause, got, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		got, err := processortest.Run(t.Context(), block, processortest.Job{Type: "block", Timeout: job.Seconds(time.Hour)})
		if err != nil || got.Failure.Code != job.CodeTimeout || time.Since(began) != time.Hour {
			t.Errorf("got %+v, %v after %v", got, err, time.Since(began))
		}
	})
}

func TestRawPayloadIsHandedOnUntouched(t *testing.T) {
	register := func(p *processor.Processor) {
		processor.HandleRaw(p, "echo", func(_ context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
			j.Progress(30, "a")
			j.Progress(10, "b")
			return payload, nil
		})
	}
	got, err := processortest.Run(t.Context(), register, processortest.Job{Type: "echo",
		Payload: json.RawMessage(`{ "a" : 1 }`)})
	if err != nil || string(got.Result) != `{ "a" : 1 }` {
		t.Errorf("got %+v, %v", got, err)
	}
	if len(got.Progress) != 2 || got.Progress[1].Percent != 30 {
		t.Errorf("progress %+v", got.Progress)
	}
	if _, err := processortest.Run(t.Context(), register, processortest.Job{Type: "echo",
		Payload: func() {}}); err == nil {
		t.Error("a function is no payload")
	}
}

func TestStagesAndData(t *testing.T) {
	register := func(p *processor.Processor) {
		processor.HandleRaw(p, "work", func(_ context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
			if err := j.Advance(processor.Progress{Percent: 30, Stage: "read", Data: []int{1, 2}}); err != nil {
				return nil, err
			}
			return nil, j.Advance(processor.Progress{Percent: 10, Stage: string(payload)})
		})
	}
	for stage, want := range map[string]struct{ progress, code string }{
		"write": {`[{"percent":30,"stage":"read","data":[1,2]},{"percent":30,"stage":"write"}]`, ""},
		"Write": {`[{"percent":30,"stage":"read","data":[1,2]}]`, processor.CodeInvalidProgress},
	} {
		got, err := processortest.Run(t.Context(), register, processortest.Job{
			Type: "work", Payload: json.RawMessage(stage),
		})
		if err != nil {
			t.Fatal(err)
		}
		code := ""
		if f := got.Failure; f != nil && !f.Retryable {
			code = f.Code
		}
		said, err := plainjson.Marshal(got.Progress)
		if err != nil || string(said) != want.progress || code != want.code {
			t.Errorf("%s: %s, %v, and it failed with %q", stage, said, err, code)
		}
	}
}

func TestFencingToken(t *testing.T) {
	var jobs []*processor.Job
	register := func(p *processor.Processor) {
		processor.HandleRaw(p, "note", func(_ context.Context, j *processor.Job, _ []byte) (json.RawMessage, error) {
			jobs = append(jobs, j)
			return nil, nil
		})
	}
	for _, j := range []processortest.Job{{Type: "note"}, {Type: "note", ID: "other", Dispatch: 7}} {
		if _, err := processortest.Run(t.Context(), register, j); err != nil {
			t.Fatal(err)
		}
	}
	if j := jobs[0]; j.ID != "test-job" || j.Dispatch != 1 || j.Run == "" {
		t.Errorf("without any: %+v", j)
	}
	if j := jobs[1]; j.ID != "other" || j.Dispatch != 7 || j.Run == jobs[0].Run {
		t.Errorf("with one: %+v", j)
	}
}

// TestStreams: a test sees what the handler wrote, also before it failed.
func TestStreams(t *testing.T) {
	for _, code := range []string{"", "mine"} {
		register := func(p *processor.Processor) {
			processor.HandleRaw(p, "say", func(_ context.Context, j *processor.Job, _ []byte) (json.RawMessage, error) {
				for _, word := range []string{"grü", "ße"} {
					if _, err := j.Stream("tokens").Write([]byte(word)); err != nil {
						return nil, err
					}
				}
				j.Log.Info("said", "words", 2)
				if err := j.Stream("rows").Send([]int{1}); err != nil || code == "" {
					return nil, err
				}
				return nil, processor.WithCode(code, errors.New("no"))
			})
		}
		got, err := processortest.Run(t.Context(), register, processortest.Job{Type: "say"})
		if err != nil || code != "" && (got.Failure == nil || got.Failure.Code != code) {
			t.Fatalf("%+v, %v", got, err)
		}
		log := got.Streams["log"].Items
		if got.Streams["tokens"].Text != "grüße" || got.Streams["tokens"].Kind != job.StreamText ||
			len(got.Streams["rows"].Items) != 1 || string(got.Streams["rows"].Items[0]) != "[1]" || len(log) != 1 ||
			!strings.Contains(string(log[0]), `"words":2`) {
			t.Errorf("streams %+v", got.Streams)
		}
	}
}
