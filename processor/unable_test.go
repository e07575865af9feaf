package processor

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// TestInabilityIsHandedBack: a job that the worker cannot run is handed back at once, without waiting for a grant, with
// the reason and with the pause that the handler asks for.
func TestInabilityIsHandedBack(t *testing.T) {
	inWorld(t, func(w *world) {
		ran := 0
		wk := w.start(Config{}, handlers(map[string]RawHandler{
			"echo": func(context.Context, *Job, []byte) (json.RawMessage, error) { ran++; return nil, nil },
			"lacks": func(context.Context, *Job, []byte) (json.RawMessage, error) {
				return nil, RetryAfter(time.Minute, WithCode("no_gpu", Unable(errors.New("no GPU here"))))
			},
			"permanent": func(context.Context, *Job, []byte) (json.RawMessage, error) {
				return nil, Permanent(Unable(errors.New("both")))
			},
		}))
		send := func(id, jobType, blob string, dispatch int) event.Event {
			t.Helper()
			req := request(id, jobType)
			req.PayloadBlob, req.Dispatch = blob, dispatch
			w.submit(req, `1`)
			return w.last(id)
		}
		for _, c := range []struct {
			id, jobType, blob string
			dispatch          int
			code              string
		}{
			{"nobody", "nobody.knows", "", 1, "no_handler"},
			{"again", "nobody.knows", "", 2, "no_handler"}, // no order comes in this world
			{"blob", "echo", event.PayloadPrefix("blob") + "x", 1, "no_blob_store"},
			{"gpu", "lacks", "", 1, "no_gpu"},
			{"permanent", "permanent", "", 1, job.CodeHandlerError},
		} {
			e := send(c.id, c.jobType, c.blob, c.dispatch)
			if e.Type != event.Released || e.Error == nil || e.Error.Code != c.code || !e.Error.Retryable ||
				e.Error.Message == "" {
				t.Errorf("%s: %s %+v", c.id, e.Type, e.Error)
				continue
			}
			if after := e.Error.RetryAfter; (after != nil) != (c.id == "gpu") {
				t.Errorf("%s: pause %v", c.id, after)
			}
		}
		if ran > 0 {
			t.Error("a handler ran without its payload")
		}
		want := func(what string, got, want float64) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		m := wk.metrics
		want("no_handler", counter(t, m.unable.WithLabelValues("no_handler")), 2)
		want("no_blob_store", counter(t, m.unable.WithLabelValues("no_blob_store")), 1)
		want("other", counter(t, m.unable.WithLabelValues("other")), 2)
		want("claims", counter(t, m.claims.WithLabelValues("unable")), 3)
		want("runs", counter(t, m.ended.WithLabelValues("unable")), 2)
		wk.wantFree()
	})
}

// TestCancelWinsOverInability: a cancelled job that the worker cannot run is not handed out again.
func TestCancelWinsOverInability(t *testing.T) {
	if e := end(nil, Unable(errors.New("x")), ErrCancelled, 100); e.event != event.Failed ||
		e.failure.Code != job.CodeCancelled {
		t.Errorf("%+v", e)
	}
	if e := end(nil, Unable(errors.New("x")), ErrShutdown, 100); e.event != event.Released || e.failure == nil {
		t.Errorf("a stop hides why: %+v", e)
	}
}
