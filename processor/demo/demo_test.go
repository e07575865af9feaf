package demo_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/bubble"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

func run(t *testing.T, j processortest.Job) processortest.Outcome {
	t.Helper()
	got, err := processortest.Run(t.Context(), demo.Register, j)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

func TestEcho(t *testing.T) {
	if got := run(t, processortest.Job{Type: demo.Echo, Payload: raw(`{"a":[1, 2]}`)}); string(
		got.Result) != `{"a":[1, 2]}` {
		t.Errorf("got %+v", got)
	}
}

func TestSleep(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		got := run(t, processortest.Job{Type: demo.Sleep, Payload: raw(`{"seconds":2,"steps":10}`)})
		if got.Event != event.Completed || len(got.Progress) != 10 || got.Progress[9].Percent != 100 {
			t.Errorf("got %+v", got)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Errorf("slept %v", took)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(processor.ErrCancelled) })
		got, err := processortest.Run(ctx, demo.Register, processortest.Job{Type: demo.Sleep,
			Payload: raw(`{"seconds":3600}`)})
		if err != nil || got.Failure.Code != "cancelled" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestFlaky(t *testing.T) {
	for attempt := 1; attempt <= 2; attempt++ {
		got := run(t, processortest.Job{Type: demo.Flaky, Payload: raw(`{"failures":2}`), Attempt: attempt})
		if got.Event != event.Failed || !got.Failure.Retryable {
			t.Errorf("attempt %d: %+v", attempt, got)
		}
	}
	if got := run(t, processortest.Job{Type: demo.Flaky, Payload: raw(`{"failures":2}`), Attempt: 3}); string(
		got.Result) != `{"attempts":3}` {
		t.Errorf("got %+v", got)
	}
}

func TestFailAndPanic(t *testing.T) {
	if f := run(t, processortest.Job{Type: demo.Fail, Payload: raw(`{"message":"no"}`)}).Failure; f.Retryable ||
		f.Message != "no" {
		t.Errorf("got %+v", f)
	}
	if f := run(t, processortest.Job{Type: demo.Panic, Payload: raw(`{}`)}).Failure; f.Code != "handler_panic" ||
		!f.Retryable {
		t.Errorf("got %+v", f)
	}
}

func TestReport(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		j := processortest.Job{
			Type: demo.Report, Payload: raw(`{"reportType":"sales","from":"2024-01-01","to":"2024-12-31"}`),
		}
		got, again := run(t, j), run(t, j)
		var report struct{ Rows int }
		if err := json.Unmarshal(got.Result, &report); err != nil || got.File == nil {
			t.Fatalf("%v: %+v", err, got)
		}
		if got.File.Name != "sales-2024-01-01-2024-12-31.csv" || !strings.HasPrefix(got.File.ContentType, "text/csv") {
			t.Errorf("file %s, %s", got.File.Name, got.File.ContentType)
		}
		lines := strings.Split(strings.TrimSpace(string(got.File.Content)), "\n")
		if report.Rows != 366 || len(lines) != 367 || lines[0] != "date,orders,revenue,refunds" ||
			!strings.HasPrefix(lines[60], "2024-02-29,") {
			t.Errorf("%d rows, %d lines: %s", report.Rows, len(lines), lines[:2])
		}
		if string(got.File.Content) != string(again.File.Content) {
			t.Error("two attempts, two reports")
		}
		if last := got.Progress[len(got.Progress)-1]; len(got.Progress) < 5 || last.Percent != 100 {
			t.Errorf("progress %+v", got.Progress)
		}
		var stages []string
		for _, p := range got.Progress {
			stages = append(stages, p.Stage)
		}
		if s := slices.Compact(stages); !slices.Equal(s, []string{"collect", "render", "done"}) ||
			string(got.Progress[0].Data) != `{"rows":0}` || string(got.Progress[len(stages)-1].Data) != `{"rows":366}` {
			t.Errorf("stages %q, progress %+v", s, got.Progress)
		}
	})
}

func TestPayloadsThatMakeNoSense(t *testing.T) {
	for payload, jobType := range map[string]string{
		`{"words":-1}`:       demo.Write,
		`{"words":100001}`:   demo.Write,
		`{"rate":-1}`:        demo.Write,
		`{"rate":0.01}`:      demo.Write,
		`{"rate":1e9}`:       demo.Write,
		`{"seconds":-1}`:     demo.Sleep,
		`{"seconds":1e9}`:    demo.Sleep,
		`{"steps":-1}`:       demo.Sleep,
		`{"seconds":"two"}`:  demo.Sleep,
		`{}`:                 demo.Report,
		`{"reportType":"x"}`: demo.Report,
		`{"reportType":"x","from":"2026-01-01","to":"soon"}`:       demo.Report,
		`{"reportType":"x","from":"2026-01-02","to":"2026-01-01"}`: demo.Report,
		`{"reportType":"x","from":"2024-01-01","to":"2026-01-01"}`: demo.Report,
	} {
		if f := run(t, processortest.Job{Type: jobType, Payload: raw(payload)}).Failure; f == nil ||
			f.Code != "invalid_payload" || f.Retryable {
			t.Errorf("%s %s: %+v", jobType, payload, f)
		}
	}
}

func TestWrite(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		began := time.Now()
		got := run(t, processortest.Job{Type: demo.Write, Payload: raw(`{"words":300,"rate":50}`)})
		tokens := got.Streams["tokens"]
		if string(got.Result) != `{"words":300}` || tokens.Kind != job.StreamText || len(strings.Fields(tokens.Text)) != 300 {
			t.Errorf("got %+v", got)
		}
		if tokens.Text != demo.Text(300) || !strings.HasPrefix(tokens.Text, demo.Text(299)) {
			t.Errorf("it has written %q", tokens.Text)
		}
		if took := time.Since(began); took < 6*time.Second || took > 7*time.Second {
			t.Errorf("300 words at 50 per second took %v", took)
		}
		if log := got.Streams["log"]; len(log.Items) != 2 || !strings.Contains(string(log.Items[1]), `"message":"written"`) {
			t.Errorf("log %s", log.Items)
		}
	})
}

func TestWords(t *testing.T) {
	for payload, want := range map[string]int{`{}`: 300, `{"words":7,"rate":3}`: 7, `{"words":-1}`: -1, `7`: -1} {
		n, err := demo.Words([]byte(payload))
		if want < 0 && err == nil || want > 0 && (n != want || err != nil) {
			t.Errorf("%s: %d, %v", payload, n, err)
		}
	}
}
