//go:build unix

package external_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/external"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// eventsOf answers with events.
func eventsOf(t *testing.T, text string) processor.RawHandler {
	return endpoint(t, time.Minute, nil, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			t.Errorf("Accept is %q", r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, text)
	})
}

// asEvents are chunks as events, and a result.
func asEvents(chunks ...string) string {
	var b strings.Builder
	for _, c := range chunks {
		fmt.Fprintf(&b, "event: chunk\ndata: %s\n\n", c)
	}
	return b.String() + "event: result\ndata: {\"words\":2}\n\n"
}

func wantStreams(t *testing.T, what string, got processortest.Outcome) {
	t.Helper()
	tokens, rows := got.Streams["tokens"], got.Streams["rows"]
	if got.Event != event.Completed || string(got.Result) != `{"words":2}` || tokens.Kind != job.StreamText ||
		tokens.Text != "grüße\n" || rows.Kind != job.StreamJSON || len(rows.Items) != 3 || string(rows.Items[2]) != `"<x>"` {
		t.Errorf("%s: %+v, %+v", what, got, got.Failure)
	}
}

// TestAllMayWriteStreams: commands, endpoints that answer with events, and callbacks write the same objects.
func TestAllMayWriteStreams(t *testing.T) {
	chunks := []string{`{"stream":"tokens","text":"grü"}`, `{"stream":"rows","items":[1,{"a":2}]}`,
		`{"text":"ße\n","stream":"tokens"}`, `{"stream":"rows","items":["<x>"]}`, `{"stream":"rows","items":[]}`}
	wantStreams(t, "a command", handle(t, t.Context(),
		printing(t, strings.Join(chunks, "\n")+"\n{\"words\":2}\n", 0), 0))
	wantStreams(t, "events", handle(t, t.Context(), eventsOf(t, asEvents(chunks...)), 0))
	c := callbacks(t)
	serve := func(w http.ResponseWriter, r *http.Request) {
		url := r.Header.Get("Ackwire-Callback")
		w.WriteHeader(http.StatusAccepted)
		go func() {
			for _, chunk := range append(chunks, `{"result":{"words":2}}`) {
				if status := post(url, "application/json", chunk); status != http.StatusNoContent {
					t.Errorf("%s: %d", chunk, status)
				}
			}
		}()
	}
	wantStreams(t, "callbacks", handle(t, t.Context(), endpoint(t, time.Minute, c, serve), 0))
}

// badChunks are objects that no stream takes, with the code of the failure and the answer to a callback.
var badChunks = []struct {
	what, chunk, code string
	status            int
}{
	{"a bad name", `{"stream":"To Kens","text":"x"}`, job.CodeInvalidStream, 422},
	{"no name", `{"stream":"","text":"x"}`, job.CodeInvalidStream, 422},
	{"the log", `{"stream":"log","items":[{}]}`, job.CodeInvalidStream, 422},
	{"an item of a text", `{"stream":"tokens","items":[1]}`, job.CodeInvalidStream, 422},
	{"a name that is a number", `{"stream":1,"text":"x"}`, job.CodeInvalidStream, 400},
	{"a text that is a number", `{"stream":"tokens","text":1}`, job.CodeInvalidStream, 400},
	{"no text", `{"stream":"tokens","text":null}`, job.CodeInvalidStream, 400},
	{"no items", `{"stream":"rows","items":null}`, job.CodeInvalidStream, 400},
	{"items that are an object", `{"stream":"rows","items":{}}`, job.CodeInvalidStream, 400},
	{"a large item", `{"stream":"rows","items":["` + strings.Repeat("x", 32<<10) + `"]}`, job.CodeStreamTooLarge, 413},
	{"a text above the limit", `{"stream":"tokens","text":"` + strings.Repeat("x", 100<<10) + `"}`,
		job.CodeStreamTooLarge, 413},
}

func limited() processor.Option {
	return processor.WithStreamLimits(func(string) (int64, int64) { return 100 << 10, 1 << 20 })
}

func TestBadChunksOfCommands(t *testing.T) {
	for _, c := range badChunks {
		run := printing(t, `{"stream":"tokens","text":"x"}`+"\n"+c.chunk+"\n1\n", 0)
		wantFailure(t, c.what, handle(t, t.Context(), run, 0, limited()), c.code, false, "")
	}
	for what, line := range map[string]string{
		"not UTF-8":    "{\"stream\":\"tokens\",\"text\":\"\xff\"}",
		"a surrogate":  `{"stream":"tokens","text":"\ud800"}`,
		"a name twice": `{"stream":"tokens","text":"a","text":"b"}`,
	} {
		wantFailure(t, what, handle(t, t.Context(), printing(t, line+"\n", 0), 0), job.CodeInvalidResult, false, "a line")
	}
	got := handle(t, t.Context(), printing(t, `{"stream":"tokens","text":"x","more":1}`, 0), 0)
	if got.Event != event.Completed || got.Streams != nil {
		t.Errorf("an object with other keys is a result: %+v", got)
	}
}

func TestBadChunksOfEvents(t *testing.T) {
	for _, c := range badChunks {
		run := eventsOf(t, asEvents(`{"stream":"tokens","text":"x"}`, c.chunk))
		wantFailure(t, c.what, handle(t, t.Context(), run, 0, limited()), c.code, false, "")
	}
	for what, data := range map[string]string{
		"not UTF-8": "{\"stream\":\"tokens\",\"text\":\"\xff\"}", "a list": `[]`, "nothing": ``, "a result": `{"result":1}`,
		"a name twice": `{"stream":"tokens","text":"a","text":"b"}`,
	} {
		wantFailure(t, what, handle(t, t.Context(), eventsOf(t, asEvents(data)), 0), job.CodeInvalidStream, false, "chunk")
	}
}

func TestBadChunksOfCallbacks(t *testing.T) {
	c := callbacks(t)
	gone := make(chan int, 1)
	got := handle(t, t.Context(), endpoint(t, time.Minute, c, func(w http.ResponseWriter, r *http.Request) {
		url := r.Header.Get("Ackwire-Callback")
		w.WriteHeader(http.StatusAccepted)
		go func() {
			post(url, "application/json", `{"stream":"tokens","text":"x"}`)
			for _, c := range badChunks {
				if status := post(url, "application/json", c.chunk); status != c.status {
					t.Errorf("%s: %d, want %d", c.what, status, c.status)
				}
			}
			post(url, "application/json", `{"result":1}`)
			gone <- post(url, "application/json", `{"stream":"tokens","text":"x"}`)
		}()
	}), 0, limited())
	if got.Event != event.Completed || got.Streams["tokens"].Text != "x" || len(got.Streams) != 1 {
		t.Errorf("%+v, %+v", got, got.Failure)
	}
	if status := <-gone; status != http.StatusGone {
		t.Errorf("after the result: %d", status)
	}
}

func TestAnswersOfEvents(t *testing.T) {
	for _, c := range []struct {
		what, body string
		code       string // "" completes
		retryable  bool
		message    string
		result     string
	}{
		{"a result", "event: result\ndata: 1\n\n", "", false, "", "1"},
		{"a byte order mark, comments and others", "\uFEFFevent:message\ndata:x\n\n: hi\nid: 7\nevent:result\ndata: 1\n\n",
			"", false, "", "1"},
		{"CR and CR LF", "event: result\rdata: [1,\r\ndata: 2]\r\n\r\n", "", false, "", "[1,\n2]"},
		{"no data", "event: result\n\n", "", false, "", ""},
		{"only the first result", "event: result\ndata: 1\n\nevent: result\ndata: 2\n\n", "", false, "", "1"},
		{"an error", "event: error\ndata: {\"code\":\"db\",\"message\":\"locked\"}\n\n", "db", true, "locked", ""},
		{"a permanent one", "event: error\ndata: {\"message\":\"no\",\"retryable\":false}\n\n", "http_200", false, "no", ""},
		{"nothing", "", "http_unreachable", true, "ended before", ""},
		{"no end", "event: result\ndata: 1\n", "http_unreachable", true, "ended before", ""},
		{"text", "event: result\ndata: hello\n\n", "invalid_result", false, "not JSON", ""},
		{"broken progress", "event: progress\ndata: 5\n\n", "invalid_result", false, "progress", ""},
		{"a long line", ":" + strings.Repeat("x", external.MaxResult+10), "result_too_large", false, "", ""},
		{"much data", strings.Repeat("data: "+strings.Repeat("x", 1<<20)+"\n", 9), "result_too_large", false, "", ""},
	} {
		got := handle(t, t.Context(), eventsOf(t, c.body), 0)
		if c.code == "" {
			if got.Event != event.Completed || string(got.Result) != c.result {
				t.Errorf("%s: %s %s %+v", c.what, got.Event, got.Result, got.Failure)
			}
			continue
		}
		wantFailure(t, c.what, got, c.code, c.retryable, c.message)
	}
	got := handle(t, t.Context(), eventsOf(t, "event: progress\ndata: {\"percent\":5}\n\n"+asEvents()), 0)
	if len(got.Progress) != 1 || got.Progress[0].Percent != 5 {
		t.Errorf("progress %+v", got.Progress)
	}
}

// TestEventsMayGoOn: the first result ends the run, though the endpoint has not ended its answer.
func TestEventsMayGoOn(t *testing.T) {
	got := handle(t, t.Context(), endpoint(t, time.Minute, nil, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, asEvents(`{"stream":"tokens","text":"x"}`))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}), 0)
	if got.Event != event.Completed || got.Streams["tokens"].Text != "x" {
		t.Errorf("%+v, %+v", got, got.Failure)
	}
}

// TestACommandIsReadToItsEnd: what waits for the rate of its stream when the command ends is written, though that takes
// longer than a command may take to stop.
func TestACommandIsReadToItsEnd(t *testing.T) {
	slow := processor.WithStreamLimits(func(string) (int64, int64) { return 1 << 20, 8 << 10 })
	line := `{"stream":"tokens","text":"` + strings.Repeat("x", 1000) + `"}` + "\n"
	got := handle(t, t.Context(), printing(t, strings.Repeat(line, 55)+"1\n", 0), 0, slow)
	if got.Event != event.Completed || len(got.Streams["tokens"].Text) != 55_000 {
		t.Errorf("%d bytes, %s, %+v", len(got.Streams["tokens"].Text), got.Event, got.Failure)
	}
}
