package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/ackwire/ackwire/ackwiretest"
)

const firstJob = "00000000-0000-7000-8000-000000000001"

// started is a server that works on demo.write with write, and has one such job, which has ended unless it is open.
func started(t *testing.T, open bool, write func(*ackwiretest.Job)) string {
	t.Helper()
	s := ackwiretest.New(t)
	if _, err := s.NewHTTP(t).Submit(t.Context(), "demo.write", 1); err != nil {
		t.Fatal(err)
	}
	j := s.Next(t)
	write(j)
	if !open {
		j.Complete(map[string]int{"rows": 3})
	}
	srv := httptest.NewServer(s)
	t.Cleanup(func() { s.Close(); srv.Close() })
	return srv.URL
}

func texts(j *ackwiretest.Job) {
	_, _ = io.WriteString(j.Stream("tokens"), "Grüße,\n\x1b[31mrot\x1b[0m\u202e\r\nend")
	_ = j.Stream("rows").Send(json.RawMessage(`{"name": "\u001b]0;x\u0007", "n": 1}`))
	_ = j.Stream("rows").Send([]int{1, 2})
	logLines(j)
}

func logLines(j *ackwiretest.Job) {
	for _, line := range []string{
		`{"time":"2026-01-02T03:04:05.678Z","level":"info","message":"reading rows","file":"a b.csv","rows":3,"deep":{"a":[1]}}`,
		`{"time":"2026-01-02T03:04:06Z","level":"error","message":"broken\n\u001b[2Jpipe","err":"x=\u001b[31my","empty":""}`,
		`{"time":1,"level":"warn","message":["a"],"more":null}`,
		`"no object"`,
	} {
		_ = j.Stream("log").Send(json.RawMessage(line))
	}
}

func TestStreamCommands(t *testing.T) {
	ended := started(t, false, texts)
	running := started(t, true, texts)
	for _, tc := range []struct {
		name     string
		url      string
		terminal bool
		args     []string
	}{
		{"stream-terminal", ended, true, []string{"stream", firstJob, "tokens"}},
		{"stream-rows", ended, false, []string{"stream", firstJob, "rows"}},
		{"stream-rows-terminal", ended, true, []string{"stream", firstJob, "rows"}},
		{"stream-json", ended, false, []string{"stream", firstJob, "tokens", "--json"}},
		{
			"stream-rows-json", ended, false,
			[]string{"stream", firstJob, "rows", "--json", "--offset", "0000000001_0000000000001"},
		},
		{"stream-offset", ended, false, []string{"stream", firstJob, "tokens", "--offset", "0000000001_0000000000026"}},
		{"stream-now", ended, false, []string{"stream", firstJob, "tokens", "--offset", "now"}},
		{"stream-no-follow", running, true, []string{"stream", firstJob, "tokens", "--no-follow"}},
		{"stream-no-follow-none", running, false, []string{"stream", firstJob, "other", "--no-follow"}},
		{"stream-bad-offset", ended, false, []string{"stream", firstJob, "tokens", "--offset", "7"}},
		{"stream-bad-name", ended, false, []string{"stream", firstJob, "Tokens"}},
		{"stream-unknown-job", ended, false, []string{"stream", "none", "tokens"}},
		{"logs", ended, true, []string{"logs", firstJob}},
		{"logs-json", ended, false, []string{"logs", firstJob, "--json"}},
		{"logs-no-follow", running, false, []string{"logs", firstJob, "--no-follow", "--offset", "0000000001_0000000000003"}},
		{"submit-stream-no-wait", ended, false, []string{"submit", "demo.write", "--stream", "tokens", "--no-wait"}},
		{"submit-stream-bad", ended, false, []string{"submit", "demo.write", "--stream", "Tokens"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			golden(t, tc.name, run(t, &Env{StdoutTerminal: tc.terminal}, tc.url, tc.args...))
		})
	}
}

// TestAPipeIsExact: what is not a terminal is given the bytes that the job has written.
func TestAPipeIsExact(t *testing.T) {
	url := started(t, false, texts)
	var out, notes bytes.Buffer
	c := StreamCmd{Flags: Flags{URL: url}, StreamFlags: StreamFlags{Offset: "-1"}, ID: firstJob, Name: "tokens"}
	err := c.Run(&Env{Context: t.Context(), Stdout: &out, Stderr: &notes})
	if want := "Grüße,\n\x1b[31mrot\x1b[0m\u202e\r\nend"; out.String() != want || notes.Len() > 0 || err != nil {
		t.Errorf("%q, %q, %v, want %q", out.String(), notes.String(), err, want)
	}
}

// TestHostileStreams: whatever a job writes, a terminal is shown text and line ends.
func TestHostileStreams(t *testing.T) {
	url := started(t, false, func(j *ackwiretest.Job) {
		for name, text := range hostile {
			_, _ = io.WriteString(j.Stream("tokens"), text)
			_ = j.Stream("rows").Send(map[string]any{name: text, text: name})
			_ = j.Stream("log").Send(map[string]any{"time": text, "level": text, "message": text, text: text})
		}
	})
	for _, args := range [][]string{{"stream", firstJob, "tokens"}, {"stream", firstJob, "rows"}, {"logs", firstJob}} {
		for _, more := range []string{"--json", "--no-follow"} {
			got := run(t, &Env{StdoutTerminal: true}, url, append(args, more)...)
			if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && steers(r) }); i >= 0 {
				t.Errorf("%v %s: a control character in %q", args, more, got[max(0, i-20):])
			}
			if !strings.HasPrefix(got, "exit code 0\n") || len(got) < 200 {
				t.Errorf("%v %s: %s", args, more, got)
			}
		}
	}
	if got := visible("a\tb\x7f\xff\n"); got != "a\tb\\u007f\uFFFD\n" {
		t.Errorf("%q", got)
	}
}

// TestSubmitPrintsAStream: a run that is lost on the way, and then the one that counts.
func TestSubmitPrintsAStream(t *testing.T) {
	for name, args := range map[string][]string{
		"submit-stream": {"--stream", "tokens"}, "submit-stream-log": {"--stream", "log"},
		"submit-stream-json": {"--stream", "tokens", "--json"},
	} {
		t.Run(name, func(t *testing.T) {
			s := ackwiretest.New(t)
			srv := httptest.NewServer(s)
			t.Cleanup(func() { s.Close(); srv.Close() })
			seen := make(chan struct{})
			var once sync.Once
			go func() {
				first := s.Next(t)
				_, _ = io.WriteString(first.Stream("tokens"), "lost \x1b[2J")
				_ = first.Stream("log").Send(json.RawMessage(`{"time":"2026-01-02T03:04:05Z","level":"info","message":"first"}`))
				<-seen
				first.FailAttempt("busy", "")
				second := s.Next(t)
				_, _ = io.WriteString(second.Stream("tokens"), "kept")
				logLines(second)
				second.Fail("no_luck", "nothing\nwas found")
			}()
			out := watched{wrote: func() { once.Do(func() { close(seen) }) }}
			got := runTo(t, &out, srv.URL, append([]string{"submit", "demo.write"}, args...)...)
			golden(t, name, resetAlone.ReplaceAllString(got, `$1"reset":true,$2`))
		})
	}
}

// resetAlone finds a line that has nothing but reset, and the line behind it up to its run: the server says at once
// that another run counts, and what that writes may come before the line is printed, or after.
var resetAlone = regexp.MustCompile(
	`\{"from":0,[^\n]*"reset":true,"run":2,"stream":"tokens"\}\n(\{"from":0,[^\n]*)("run":2)`,
)

// watched is an output that tells when something was written that is not the ack.
type watched struct {
	bytes.Buffer
	wrote func()
}

func (w *watched) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte(`"statusUrl"`)) {
		defer w.wrote()
	}
	return w.Buffer.Write(b)
}

// runTo is like run for a stdout that is a terminal.
func runTo(t *testing.T, out *watched, url string, args ...string) string {
	t.Helper()
	env := &Env{Stdout: out, StdoutTerminal: true}
	got := run(t, env, url, args...)
	// What a document says of times is not the same each time.
	lines := strings.Split(got, "\n")
	for i, line := range lines {
		var doc map[string]any
		if json.Unmarshal([]byte(line), &doc) != nil {
			continue
		}
		for _, name := range []string{"createdAt", "updatedAt", "startedAt", "finishedAt", "attempts"} {
			delete(doc, name)
		}
		b, _ := json.Marshal(doc)
		lines[i] = string(b)
	}
	got = strings.Join(lines, "\n")
	if before, after, found := strings.Cut(got, "failed after "); found {
		_, after, _ = strings.Cut(after, ",")
		got = before + "failed after TIME," + after
	}
	return got
}

// TestStreamsAreInterrupted: Ctrl-C says where the stream goes on.
func TestStreamsAreInterrupted(t *testing.T) {
	url := started(t, true, texts)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{wrote: cancel}
	got := run(t, &Env{Context: ctx, Stdout: out, StdoutTerminal: true}, url, "stream", firstJob, "tokens")
	golden(t, "interrupt-stream", got)
}
