package processor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// cutOff makes the broker refuse all produces to status.
func (w *world) cutOff() *kfake.FaultHandle {
	return w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Status(),
		Err: kerr.NotLeaderForPartition, Count: -1})
}

func TestHowHandlersEnd(t *testing.T) {
	plain := errors.New("disk on fire")
	cases := map[string]struct {
		handler RawHandler
		want    event.Failure
	}{
		"plain error": {fails(plain), failure("handler_error", "disk on fire", true)},
		"permanent": {
			fails(fmt.Errorf("wrapped: %w", Permanent(plain))),
			failure("handler_error", "wrapped: disk on fire", false),
		},
		"code": {fails(WithCode("no_disk", plain)), failure("no_disk", "disk on fire", true)},
		"both": {fails(WithCode("no_disk", Permanent(plain))), failure("no_disk", "disk on fire", false)},
		"retry after": {
			fails(RetryAfter(90*time.Second, plain)),
			retryAfter(failure("handler_error", "disk on fire", true), 90*time.Second),
		},
		"panic": {
			func(context.Context, *Job, []byte) (json.RawMessage, error) { panic("secret") },
			failure("handler_panic", errPanicked.Error(), true),
		},
		"nil function": {func(context.Context, *Job, []byte) (json.RawMessage, error) {
			var h RawHandler
			return h(nil, nil, nil)
		}, failure("handler_panic", errPanicked.Error(), true)},
		"goexit": {
			func(context.Context, *Job, []byte) (json.RawMessage, error) { runtime.Goexit(); return nil, nil },
			failure("handler_panic", errPanicked.Error(), true),
		},
		"too large": {
			returns(`"` + strings.Repeat("x", 64<<10) + `"`),
			failure("result_too_large", "the result has 65538 bytes, above the limit of 65536", false),
		},
		"not JSON":  {returns(`{`), failure("invalid_result", "the handler's result is not JSON", false)},
		"not UTF-8": {fails(errors.New("a\xffb")), failure("handler_error", "a\uFFFDb", true)},
		"long message": {
			fails(errors.New(strings.Repeat("é", 2000))), failure("handler_error", strings.Repeat("é", 512), true),
		},
		"lone deadline": {fails(context.DeadlineExceeded), failure("handler_error", context.DeadlineExceeded.Error(), true)},
	}
	inWorld(t, func(w *world) {
		table := map[string]RawHandler{}
		for name, c := range cases {
			table[name] = c.handler
		}
		wk := w.start(Config{}, handlers(table))
		for name := range cases {
			w.submit(request(name, name), `{}`)
		}
		for name, c := range cases {
			e := w.want(name, name, event.Claimed, event.Failed)[1]
			if got, want := e.Error.Error, c.want.Error; got != want {
				t.Errorf("%s: got %+v, want %+v", name, got, want)
			}
			if (e.Error.RetryAfter == nil) != (c.want.RetryAfter == nil) ||
				e.Error.RetryAfter != nil && *e.Error.RetryAfter != *c.want.RetryAfter {
				t.Errorf("%s: retryAfter %v, want %v", name, e.Error.RetryAfter, c.want.RetryAfter)
			}
		}
		wk.wantFree()
	})
}

func fails(err error) RawHandler {
	return func(context.Context, *Job, []byte) (json.RawMessage, error) { return nil, err }
}

func returns(result string) RawHandler {
	return func(context.Context, *Job, []byte) (json.RawMessage, error) { return json.RawMessage(result), nil }
}

func failure(code, message string, retryable bool) event.Failure {
	return event.Failure{Error: job.Error{Code: code, Message: message, Retryable: retryable}}
}

func retryAfter(f event.Failure, d time.Duration) event.Failure {
	after := job.Seconds(d)
	f.RetryAfter = &after
	return f
}

func TestPayloadAndHandlerThatAreNotThere(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, func(p *Processor) {
			Handle(p, "typed", func(context.Context, *Job, struct{ N int }) (any, error) { return nil, nil })
			Handle(p, "unencodable", func(context.Context, *Job, any) (any, error) { return math.Inf(1), nil })
		})
		w.submit(request("a", "typed"), `{"n":"one"}`)
		w.submit(request("b", "nobody.knows"), `{}`)
		w.submit(request("c", "unencodable"), `{}`)
		if f := w.last("a").Error; f.Code != "invalid_payload" || f.Retryable {
			t.Errorf("payload: %+v", f)
		}
		if e := w.last("b"); e.Type != event.Released || e.Error == nil || e.Error.Code != "no_handler" ||
			!e.Error.Retryable {
			t.Errorf("no handler: %s %+v", e.Type, e.Error)
		}
		if f := w.last("c").Error; f.Code != "invalid_result" || f.Retryable {
			t.Errorf("result: %+v", f)
		}
		wk.wantFree()
	})
}

func TestBeatsWhileThereIsNoProgress(t *testing.T) {
	inWorld(t, func(w *world) {
		w.start(Config{}, handlers(map[string]RawHandler{"block": block}))
		w.submit(request("a", "block"), `1`)
		time.Sleep(2*testLease - time.Second)
		events := w.want("beats", "a", event.Claimed, event.Beat, event.Beat, event.Beat, event.Beat, event.Beat)
		for i := 1; i < len(events); i++ {
			if gap := events[i].at.Sub(events[i-1].at); gap > testLease/3+2*pulse {
				t.Errorf("%v between renewals", gap)
			}
		}
		w.order(events[0].Event, event.Quit)
		w.last("a")
	})
}

func TestAttemptTimeout(t *testing.T) {
	inWorld(t, func(w *world) {
		wk := w.start(Config{}, handlers(map[string]RawHandler{"block": block}))
		req := request("a", "block")
		req.Policy.Timeout = job.Seconds(3 * time.Second)
		w.submit(req, `1`)
		time.Sleep(3 * time.Second)
		e := w.want("timed out", "a", event.Claimed, event.Beat, event.Failed)[2]
		if e.Error.Code != "timeout" || !e.Error.Retryable {
			t.Errorf("got %+v", e.Error)
		}
		wk.wantFree()
	})
}

func TestLeaseLostEndsHandlerSilently(t *testing.T) {
	inWorld(t, func(w *world) {
		var lostAfter time.Duration
		causes := make(chan error, 1)
		wk := w.start(Config{}, handlers(map[string]RawHandler{"block": func(ctx context.Context, _ *Job,
			_ []byte) (json.RawMessage, error) {
			began := time.Now()
			<-ctx.Done()
			lostAfter = time.Since(began)
			causes <- context.Cause(ctx)
			return json.RawMessage(`1`), nil
		}}))
		w.submit(request("a", "block"), `1`)
		w.want("running", "a", event.Claimed)
		fault := w.cutOff()
		if cause := <-causes; cause != ErrLeaseLost {
			t.Fatalf("cause %v", cause)
		}
		if lostAfter >= testLease || lostAfter < testLease*8/10 {
			t.Errorf("the handler's context ended %v after the claim, lease %v", lostAfter, testLease)
		}
		fault.Remove()
		time.Sleep(2 * testLease)
		// The beat that was in flight when the lease was lost may still be written.
		w.want("silent", "a", event.Claimed, event.Beat)
		wk.wantFree()
		if got := counter(t, wk.metrics.leasesLost); got != 1 {
			t.Errorf("%v leases lost", got)
		}
	})
}

func TestShortCutDoesNotLoseTheLease(t *testing.T) {
	inWorld(t, func(w *world) {
		req := request("a", "nap")
		req.Policy.Lease = job.Seconds(30 * time.Second)
		w.start(Config{}, handlers(map[string]RawHandler{"nap": func(ctx context.Context, _ *Job, _ []byte) (json.RawMessage,
			error) {
			if !pause.For(ctx, 60*time.Second) {
				return nil, context.Cause(ctx)
			}
			return json.RawMessage(`1`), nil
		}}))
		w.submit(req, `1`)
		w.want("running", "a", event.Claimed)
		time.Sleep(8 * time.Second)
		fault := w.cutOff()
		time.Sleep(15 * time.Second) // the beat at 10 s fails at 15 s, the next ones as well
		fault.Remove()
		time.Sleep(40 * time.Second)
		if e := w.last("a"); e.Type != event.Completed {
			t.Errorf("got %+v", e)
		}
	})
}

func TestTerminalEventIsSaidUntilDurable(t *testing.T) {
	inWorld(t, func(w *world) {
		end := make(chan struct{})
		wk := w.start(Config{}, handlers(map[string]RawHandler{"wait": func(context.Context, *Job, []byte) (json.RawMessage,
			error) {
			<-end
			return json.RawMessage(`1`), nil
		}}))
		w.submit(request("a", "wait"), `1`)
		w.want("running", "a", event.Claimed)
		fault := w.cutOff()
		close(end)
		time.Sleep(20 * time.Second) // far beyond the lease: only the tracker decides whether it still holds
		w.want("cut off", "a", event.Claimed)
		if err := wk.Ready(); err == nil {
			t.Error("ready though nothing can be appended")
		}
		fault.Remove()
		time.Sleep(time.Second)
		w.want("healed", "a", event.Claimed, event.Completed)
		if err := wk.Ready(); err != nil {
			t.Errorf("not ready: %v", err)
		}
		wk.wantFree()
	})
}

func TestProgressIsConflatedAndNeverAfterTheEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		var kept *Job
		wk := w.start(Config{}, handlers(map[string]RawHandler{"count": func(_ context.Context, j *Job,
			_ []byte) (json.RawMessage, error) {
			kept = j
			for i := range 200 { // two seconds
				j.Progress(float64(i)/2, fmt.Sprint(i))
				time.Sleep(10 * time.Millisecond)
			}
			j.Progress(20, "falls not") // counts as 99.5
			j.Progress(math.NaN(), "is 0")
			j.Progress(1000, "last")
			return nil, nil
		}}))
		w.submit(request("a", "count"), `1`)
		e := w.last("a")
		kept.Progress(100, "too late")
		time.Sleep(2 * testLease)
		events := w.events("a")
		if e.Type != event.Completed || events[len(events)-1].Type != event.Completed {
			t.Fatalf("the last event is %+v", events[len(events)-1])
		}
		progress := events[1 : len(events)-1]
		if n := len(progress); n < 8 || n > 10 {
			t.Errorf("%d progress events in two seconds, want 4 a second and the last", n)
		}
		percent := -1.0
		for _, e := range progress {
			if e.Type != event.Progress || e.Progress.Percent < percent {
				t.Errorf("%s %+v after %v %%", e.Type, e.Progress, percent)
			}
			percent = e.Progress.Percent
		}
		if last := progress[len(progress)-1].Progress; last.Percent != 100 || last.Message != "last" {
			t.Errorf("the last progress is %+v", last)
		}
		if got := counter(t, wk.metrics.conflated); got < 180 {
			t.Errorf("%v calls conflated", got)
		}
		wk.wantFree()
	})
}

func TestProgressThatFailedIsSentAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		req := request("a", "once")
		req.Policy.Lease = job.Seconds(time.Minute)
		w.start(Config{}, handlers(map[string]RawHandler{"once": func(ctx context.Context, j *Job, _ []byte) (json.RawMessage,
			error) {
			time.Sleep(2 * moment)
			j.Progress(42, "once")
			return block(ctx, j, nil)
		}}))
		w.submit(req, `1`)
		claim := w.want("running", "a", event.Claimed)[0].Event
		fault := w.cutOff()
		time.Sleep(7 * time.Second)
		fault.Remove()
		time.Sleep(6 * time.Second)
		e := w.want("healed", "a", event.Claimed, event.Progress)[1]
		if e.Progress.Percent != 42 {
			t.Errorf("got %+v", e.Progress)
		}
		w.order(claim, event.Quit)
		w.last("a")
	})
}

// If the broker's limit on records is too low for a result, the run must not repeat its report for ever.
func TestResultThatTheBrokerRefuses(t *testing.T) {
	inWorld(t, func(w *world) {
		end := make(chan struct{})
		wk := w.start(Config{}, handlers(map[string]RawHandler{"wait": func(context.Context, *Job, []byte) (json.RawMessage,
			error) {
			<-end
			return json.RawMessage(`1`), nil
		}}))
		w.submit(request("a", "wait"), `1`)
		w.want("running", "a", event.Claimed)
		w.cluster.Fault(kfake.Fault{
			Keys: []kmsg.Key{kmsg.Produce}, Topic: w.names.Status(), Err: kerr.MessageTooLarge, Count: 1,
		})
		close(end)
		e := w.want("refused", "a", event.Claimed, event.Failed)[1]
		if e.Error.Code != "result_too_large" || e.Error.Retryable {
			t.Errorf("got %+v", e.Error)
		}
		wk.wantFree()
	})
}
