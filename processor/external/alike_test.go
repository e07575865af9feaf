//go:build unix

package external_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/external"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

// callbacks listens for the test's endpoints.
func callbacks(t *testing.T) *external.Callbacks {
	t.Helper()
	c, err := external.NewCallbacks(listen(t), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return c
}

// printing is a command that prints text and exits with a code.
func printing(t *testing.T, text string, code int) processor.RawHandler {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return command(t, fmt.Sprintf("cat %s; exit %d", file, code))
}

func answering(t *testing.T, status int, text string) processor.RawHandler {
	return endpoint(t, time.Minute, nil, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	})
}

// TestResultsAreCheckedAlike: the results of commands, endpoints and callbacks are checked.
func TestResultsAreCheckedAlike(t *testing.T) {
	c := callbacks(t)
	calling := endpoint(t, time.Minute, c, func(w http.ResponseWriter, r *http.Request) {
		url := r.Header.Get("Ackwire-Callback")
		w.WriteHeader(http.StatusAccepted)
		go post(url, "application/json", `{"result":"odd"}`)
	})
	check := processor.WithResultCheck(func(jobType string, result json.RawMessage) error {
		if string(bytes.TrimSpace(result)) == `"odd"` {
			return fmt.Errorf("is odd for %s", jobType)
		}
		return nil
	})
	for what, run := range map[string]processor.RawHandler{
		"command": printing(t, `"odd"`, 0), "endpoint": answering(t, 200, `"odd"`), "callback": calling,
	} {
		got := handle(t, t.Context(), run, 0, check)
		wantFailure(t, what, got, processor.CodeInvalidResult, false, "the handler's result is odd for text.count")
	}
	if got := handle(t, t.Context(), printing(t, `"even"`, 0), 0, check); got.Event != event.Completed {
		t.Errorf("a result that fits: %+v", got)
	}
}

// TestFailuresAreReadAlike: commands, endpoints and callbacks report failures in the same form. A failure without
// retryable is classified by the exit code or the status; one of a callback is retryable.
func TestFailuresAreReadAlike(t *testing.T) {
	c := callbacks(t)
	calling := func(text string) processor.RawHandler {
		return endpoint(t, time.Minute, c, func(w http.ResponseWriter, r *http.Request) {
			url := r.Header.Get("Ackwire-Callback")
			w.WriteHeader(http.StatusAccepted)
			go post(url, "application/json", text)
		})
	}
	yes, no := true, false
	for _, tc := range []struct {
		said      string // the value of "error"
		code      string // "": the kind's own
		message   string
		retryable *bool // nil: the kind's own
		after     time.Duration
	}{
		{`"disk full"`, "", "disk full", nil, 0},
		{`{"message":"disk full"}`, "", "disk full", nil, 0},
		{`{"code":"disk","detail":"full"}`, "disk", "full", nil, 0},
		{`{"title":"full","retryable":true}`, "", "full", &yes, 0},
		{`{"code":"disk","message":"full","retryable":false}`, "disk", "full", &no, 0},
		{`{"code":"disk","message":"full","retryable":true,"retryAfter":3}`, "disk", "full", &yes, 3 * time.Second},
		{`{"message":"full","retryable":true,"retryAfter":3.0}`, "", "full", &yes, 3 * time.Second},
		{`{"code":7,"message":"full","retryable":"no","retryAfter":"soon"}`, "", "full", nil, 0},
		{`{"error":"full","code":"disk"}`, "disk", "full", nil, 0},
		{`["a","b"]`, "", `["a","b"]`, nil, 0},
		{`{}`, "", "", nil, 0},
		{`""`, "", "", nil, 0},
	} {
		word := `{"error":` + tc.said + `}`
		for _, kind := range []struct {
			what      string
			run       processor.RawHandler
			code      string
			retryable bool
		}{
			{"command that exits with 0", printing(t, word, 0), "command_failed", true},
			{"command that exits with 1", printing(t, word, 1), "command_failed", true},
			{"command that exits with 65", printing(t, word, 65), "command_failed", false},
			{"command that exits with 75", printing(t, word, 75), "command_failed", true},
			{"endpoint's 500", answering(t, 500, word), "http_500", true},
			{"endpoint's 422", answering(t, 422, word), "http_422", false},
			{"endpoint's 429", answering(t, 429, word), "http_429", true},
			{"endpoint's 200", answering(t, 200, word), "http_200", true},
			{"callback", calling(word), "http_callback", true},
		} {
			got := handle(t, t.Context(), kind.run, 0)
			if tc.code != "" {
				kind.code = tc.code
			}
			if tc.retryable != nil {
				kind.retryable = *tc.retryable
			}
			what := word + " of a " + kind.what
			wantFailure(t, what, got, kind.code, kind.retryable, tc.message)
			if got.Failure == nil {
				continue
			}
			if after := got.Failure.RetryAfter; (after != nil) != (tc.after > 0) ||
				after != nil && after.Duration() != tc.after {
				t.Errorf("%s: retryAfter %v", what, after)
			}
		}
	}
	// Whole bodies, as RFC 9457 has them.
	wantFailure(t, "a problem that is retryable",
		handle(t, t.Context(), answering(t, 409, `{"detail":"busy","retryable":true}`), 0), "http_409", true, "busy")
	wantFailure(t, "a problem that is not", handle(t, t.Context(),
		answering(t, 503, `{"code":"gone","message":"for good","retryable":false}`), 0), "gone", false, "for good")
}

// loose holds output that some parsers accept and strict ones refuse.
var loose = map[string]string{
	"not UTF-8": "\"\xff\"", "a lone surrogate": `{"a":"\ud800"}`, "out of range": `[1e400]`,
	"duplicate keys":    `{"a":1,"a":2}`,
	"a byte order mark": "\uFEFF{\"a\":1}", "too deep": strings.Repeat("[", 101) + strings.Repeat("]", 101),
}

// TestLooseOutputIsRefused: of every kind of handler. The job fails permanently, and its error says why.
func TestLooseOutputIsRefused(t *testing.T) {
	c := callbacks(t)
	for what, text := range loose {
		raw := func(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
			return json.RawMessage(text), nil
		}
		for kind, h := range map[string]processor.RawHandler{
			"Go": raw, "command": printing(t, text, 0), "wrapped": printing(t, `{"result":`+text+`}`, 0), "progress": printing(t,
				`{"progress":{"percent":1,"message":`+text+`}}`, 0),
			"endpoint": answering(t, 200, text),
		} {
			wantFailure(t, kind+": "+what, handle(t, t.Context(), h, 0), "invalid_result", false, "")
		}
		taken := make(chan int, 2)
		got := handle(t, t.Context(), endpoint(t, time.Minute, c, func(w http.ResponseWriter, r *http.Request) {
			url := r.Header.Get("Ackwire-Callback")
			w.WriteHeader(http.StatusAccepted)
			go func() {
				taken <- post(url, "application/json", `{"result":`+text+`}`)
				taken <- post(url, "application/json", `{"result":1}`)
			}()
		}), 0)
		if first, second := <-taken, <-taken; first != 400 || second != 204 || got.Event != event.Completed {
			t.Errorf("callback: %s: %d, then %d, %s", what, first, second, got.Event)
		}
	}
}

// TestALargeResultIsHeldToTheSame: a result that goes to the blob store must be strict JSON too.
func TestALargeResultIsHeldToTheSame(t *testing.T) {
	big := `{"a":"` + strings.Repeat("x", 100<<10) + `","a":1}`
	wantFailure(t, "above the inline limit", handle(t, t.Context(), printing(t, big, 0), 0), "invalid_result", false,
		"twice")
}

// TestWholeNumbersCountAsIntegers: an integer may be written as 1.0, as many languages do.
func TestWholeNumbersCountAsIntegers(t *testing.T) {
	got := handle(t, t.Context(), printing(t, "{\"progress\":{\"current\":3.0,\"total\":4e0}}\n1.0\n", 0), 0)
	if len(got.Progress) != 1 || got.Progress[0].Current != 3 || got.Progress[0].Percent != 75 ||
		string(got.Result) != "1.0" {
		t.Errorf("%+v %+v", got, got.Failure)
	}
	typed, err := processortest.Run(t.Context(), func(p *processor.Processor) {
		processor.Handle(p, "t", func(_ context.Context, _ *processor.Job, in struct{ Steps int }) (int, error) {
			return in.Steps, nil
		})
	}, processortest.Job{Type: "t", Payload: json.RawMessage(`{"steps":10.0}`)})
	if err != nil || string(typed.Result) != "10" {
		t.Errorf("%v %+v %+v", err, typed, typed.Failure)
	}
}
