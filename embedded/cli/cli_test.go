package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/frame"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC // golden outputs show times
	goleak.VerifyTestMain(m)
}

// tool is the command line as main declares it.
type tool struct {
	Submit SubmitCmd `cmd:"" help:"Submit a job and follow it."`
	Watch  WatchCmd  `cmd:"" help:"Follow a job."`
	Stream StreamCmd `cmd:"" help:"Print a stream."`
	Logs   LogsCmd   `cmd:"" help:"Print a log."`
	Get    GetCmd    `cmd:"" help:"Print a job."`
	List   ListCmd   `cmd:"" help:"Print jobs."`
	Stats  StatsCmd  `cmd:"" help:"Count jobs."`
	Why    WhyCmd    `cmd:"" help:"Tell what a job waits for."`

	History  HistoryCmd  `cmd:"" help:"Tell a job's events."`
	Workers  WorkersCmd  `cmd:"" help:"List the workers."`
	System   SystemCmd   `cmd:"" help:"Tell of the processes."`
	Activity ActivityCmd `cmd:"" help:"Count what happened in the last hour."`
	Payload  PayloadCmd  `cmd:"" help:"Print what was submitted."`

	Deliveries DeliveriesCmd `cmd:"" help:"Tell how webhooks fare."`
	Webhooks   WebhooksCmd   `cmd:"" help:"List endpoints."`
	Dead       DeadCmd       `cmd:"" help:"List dead letters."`
	Audit      AuditCmd      `cmd:"" help:"Tell who did what."`

	Result ResultCmd `cmd:"" help:"Download a job's result."`
	Cancel CancelCmd `cmd:"" help:"Stop a job."`
	Retry  RetryCmd  `cmd:"" help:"Run a job again."`
	Grant  GrantCmd  `cmd:"" help:"Print a grant."`
	Erase  EraseCmd  `cmd:"" help:"Remove jobs."`
	Bulk   BulkCmd   `cmd:"" help:"Retry, cancel or erase jobs."`
}

// script is a server that answers every submit and subscribe with the same frames, in
// which %ID% is the request's ID, and every GET with one document.
type script struct {
	refuse    int // HTTP status for the handshake
	submit    []string
	subscribe []string
	document  string
	order     string // answers cancel and retry
	result    string
	query     func(path string, q url.Values) string // answers lists, counts and why; empty refuses
	bulk      func(frame.BulkRequest) (status int, body string)

	mu     sync.Mutex
	frames []string // what the client sent
	auth   string
}

const welcome = `{"type":"welcome","connection":"c","protocol":"ackwire.v1","pingInterval":25,"limits":{"frameBytes":262144,"subscriptions":1000,"inFlightSubmits":64}}`

func (s *script) serve(t *testing.T) string {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ws", func(w http.ResponseWriter, r *http.Request) {
		if s.refuse != 0 {
			w.WriteHeader(s.refuse)
			fmt.Fprint(w, `{"code":"unauthenticated","title":"Not authenticated","detail":"the token has \u001b[31mexpired\u001b[0m","retryable":false}`)
			return
		}
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{frame.Protocol}})
		if err != nil {
			return
		}
		defer func() { _ = ws.CloseNow() }()
		send := func(b string) { _ = ws.Write(context.Background(), websocket.MessageText, []byte(b)) }
		send(welcome)
		for {
			_, b, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			var g frame.ClientFrame
			_ = json.Unmarshal(b, &g)
			s.mu.Lock()
			s.frames = append(s.frames, string(b))
			s.auth = r.Header.Get("Authorization")
			s.mu.Unlock()
			answers := map[frame.Type][]string{frame.Submit: s.submit, frame.Subscribe: s.subscribe, frame.Cancel: {s.order},
				frame.Retry: {s.order}}[g.Type]
			for _, a := range answers {
				send(strings.ReplaceAll(a, "%ID%", g.ID))
			}
		}
	})
	mux.HandleFunc("GET /v1/jobs/{id}", func(w http.ResponseWriter, _ *http.Request) {
		if s.document == "" {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"code":"not_found","title":"Not found","detail":"no such job","retryable":false}`)
			return
		}
		w.Header().Set("ETag", `"7"`)
		fmt.Fprint(w, s.document)
	})
	mux.HandleFunc("GET /v1/jobs/{id}/result", func(w http.ResponseWriter, _ *http.Request) {
		if s.result == "" {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"code":"invalid_state","title":"Not possible in this state","detail":"the job is failed: it has no result","retryable":false}`)
			return
		}
		w.Header().Set("Content-Type", "text/csv")
		fmt.Fprint(w, s.result)
	})
	mux.HandleFunc("POST /v1/bulk", func(w http.ResponseWriter, r *http.Request) {
		var asked frame.BulkRequest
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		status, body := s.bulk(asked)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	for _, path := range []string{"/v1/jobs", "/v1/stats", "/v1/jobs/{id}/why", "/v1/jobs/{id}/deliveries",
		"/v1/jobs/{id}/history", "/v1/jobs/{id}/payload", "/v1/workers", "/v1/activity", "/v1/system",
		"/v1/webhooks", "/v1/audit",
		"/v1/dead", "/v1/dead/{id}"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			body := s.query(r.URL.Path, r.URL.Query())
			if body == "rate_limited" {
				w.WriteHeader(http.StatusTooManyRequests)
				body = `{"code":"rate_limited","title":"Too many requests","retryable":true,"retryAfter":0.01}`
			}
			if body == "" {
				w.WriteHeader(http.StatusBadRequest)
				body = `{"code":"invalid_frame","title":"Invalid frame","detail":"state \"\u001b[2Jdone\" is not a state","retryable":false}`
			}
			fmt.Fprint(w, body)
		})
	}
	for path, status := range map[string]int{"/v1/dead/{id}/requeue": 202, "/v1/jobs/{id}/retry": 202} {
		mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
			answer := s.query("POST "+r.URL.Path, nil)
			if answer == "" {
				w.WriteHeader(http.StatusConflict)
				fmt.Fprint(w, `{"code":"invalid_state","title":"Not possible in this state","detail":"it has ended\u001b[2J","retryable":false}`)
				return
			}
			w.WriteHeader(status)
			fmt.Fprint(w, answer)
		})
	}
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.URL
}

const ack = `{"type":"ack","id":"%ID%","jobId":"0199-job","state":"pending","statusUrl":"/v1/jobs/0199-job"}`

func status(version int, state, more string) string {
	return fmt.Sprintf(`{"type":"status","version":%d,"job":%s}`, version, document(state, more))
}

func document(state, more string) string {
	return fmt.Sprintf(`{"jobId":"0199-job","type":"demo.sleep","state":%q,"attempt":1,"maxAttempts":3,"createdAt":"2026-01-02T03:04:05Z","updatedAt":"2026-01-02T03:04:06Z"%s}`, state, more)
}

var (
	completed = status(9, "completed",
		`,"finishedAt":"2026-01-02T03:04:07.25Z","result":{"rows":[1,2],"evil":"\u001b]0;x\u0007`+"\u009b31m"+`"}`)
	failed = strings.Replace(status(9, "failed",
		`,"finishedAt":"2026-01-02T03:04:07Z","error":{"code":"boom","message":"first line\nsecond \u001b[2Jline","retryable":true}`), `"attempt":1`, `"attempt":3`, 1)
)

// run runs the tool and returns its output and exit code as one text.
func run(t *testing.T, env *Env, url string, args ...string) string {
	t.Helper()
	stdout, ok := env.Stdout.(interface {
		io.Writer
		fmt.Stringer
	})
	if !ok {
		stdout = &bytes.Buffer{}
		env.Stdout = stdout
	}
	stderr, ok := env.Stderr.(fmt.Stringer)
	if !ok {
		b := &bytes.Buffer{}
		env.Stderr, stderr = b, b
	}
	if env.Context == nil {
		env.Context = t.Context()
	}
	var cmds tool
	parser, err := kong.New(&cmds, kong.Name("ackwire"), kong.Exit(func(int) { t.Fatal("kong exits") }))
	if err != nil {
		t.Fatal(err)
	}
	var code int
	kctx, err := parser.Parse(append(args, "--url", url))
	if err != nil {
		code = Report(env, refused(err))
	} else {
		code = Report(env, kctx.Run(env))
	}
	text := fmt.Sprintf("exit code %d\n--- stdout\n%s--- stderr\n%s", code, stdout.String(), stderr.String())
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && r != '\r' && steers(r) }); i >= 0 {
		t.Errorf("a control character at %d of %q", i, text)
	}
	return strings.ReplaceAll(text, url, "http://ackwire.test")
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload.json")
	if err := os.WriteFile(file, []byte(`{"from":"file"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name  string
		s     *script
		args  []string
		stdin string
		sent  string // what the first frame must hold
	}{
		{
			name: "submit", s: &script{submit: []string{ack, completed}},
			args: []string{"submit", "demo.sleep", `{"seconds":1}`}, sent: `"payload":{"seconds":1}`,
		},
		{
			name: "submit-json", s: &script{submit: []string{ack, completed}},
			args: []string{"submit", "demo.sleep", "--json"}, sent: `"payload":{}`,
		},
		{
			name: "submit-no-wait", s: &script{submit: []string{ack}},
			args: []string{"submit", "demo.sleep", "-", "--no-wait"}, stdin: ` {"from":"stdin"} `,
			sent: `"payload":{"from":"stdin"},"watch":false`,
		},
		{name: "submit-detach-json", s: &script{
			submit: []string{strings.Replace(ack, `"pending"`, `"completed","duplicate":true`, 1)},
		},
			args: []string{"submit", "demo.sleep", "@" + file, "--detach", "--json", "--key", "k1", "--timeout", "1m30s",
				"--deadline", "1h"}, sent: `"payload":{"from":"file"},"key":"k1","timeout":90,"deadline":3600,"watch":false`},
		{name: "submit-failed", s: &script{submit: []string{ack, failed}}, args: []string{"submit", "demo.sleep"}},
		{
			name: "submit-refused",
			s: &script{
				submit: []string{
					`{"type":"error","id":"%ID%","code":"validation_failed","title":"Payload is not valid","detail":"the payload does not fit demo.sleep","retryable":false,"errors":[{"pointer":"/seconds","detail":"must be at most 60"},{"pointer":"","detail":"\u001b[31munknown\u001b[0m member"}]}`,
				},
			},
			args: []string{"submit", "demo.sleep"},
		},
		{
			name: "submit-rate-limited",
			s: &script{
				submit: []string{
					`{"type":"error","id":"%ID%","code":"rate_limited","title":"Too many requests","retryable":true,"retryAfter":1.5}`,
				},
			},
			args: []string{"submit", "demo.sleep"},
		},
		{
			name: "submit-indeterminate",
			s: &script{
				submit: []string{
					`{"type":"error","id":"%ID%","code":"indeterminate","title":"Outcome not known","detail":"no answer from the log in 5 s","retryable":true,"jobId":"0199-job"}`,
				},
			},
			args: []string{"submit", "demo.sleep"},
		},
		{name: "submit-no-json", args: []string{"submit", "demo.sleep", `{"a":}`}},
		{name: "submit-no-file", args: []string{"submit", "demo.sleep", "@/no/such/file"}},
		{name: "submit-no-type", args: []string{"submit"}},
		{name: "bad-token", s: &script{refuse: 401}, args: []string{"submit", "demo.sleep", "--token", "expired"}},
		{
			name: "watch",
			s: &script{
				subscribe: []string{`{"type":"subscribed","id":"%ID%","jobs":[{"jobId":"0199-job","version":9}]}`, completed},
			},
			args: []string{"watch", "0199-job"}, sent: `"jobs":[{"jobId":"0199-job"}]`,
		},
		{name: "watch-failed", s: &script{subscribe: []string{failed}}, args: []string{"watch", "0199-job"}},
		{name: "watch-failed-json", s: &script{subscribe: []string{failed}}, args: []string{"watch", "0199-job", "--json"}},
		{
			name: "watch-cancelled", s: &script{subscribe: []string{status(4, "cancelled", "")}},
			args: []string{"watch", "0199-job"},
		},
		{
			name: "watch-result-url",
			s:    &script{subscribe: []string{status(4, "completed", `,"resultUrl":"https://example.test/r.csv"`)}},
			args: []string{"watch", "0199-job"},
		},
		{
			name: "watch-unknown",
			s: &script{
				subscribe: []string{`{"type":"subscribed","id":"%ID%","jobs":[{"jobId":"0199-job","error":"not_found"}]}`},
			},
			args: []string{"watch", "0199-job"},
		},
		{
			name: "get",
			s: &script{
				document: document("processing",
					`,"startedAt":"2026-01-02T03:04:06Z","progress":{"percent":25,"message":"reading"}`),
			},
			args: []string{"get", "0199-job"},
		},
		{
			name: "get-tags",
			s: &script{
				document: document("pending",
					`,"lane":"reports","subject":"al\u0007ice","tags":{"region":"eu","customer":"c-17\u202e"}`),
			},
			args: []string{"get", "0199-job"},
		},
		{
			name: "get-stage",
			s: &script{
				document: document("processing",
					`,"startedAt":"2026-01-02T03:04:06Z","progress":{"percent":25,"stage":"read","data":{"lines":[1,2]}}`),
			},
			args: []string{"get", "0199-job"},
		},
		{
			name: "get-stage-json",
			s: &script{
				document: document("processing", `,"progress":{"percent":25,"stage":"read","data":{"lines":[1,2]}}`),
			},
			args: []string{"get", "0199-job", "--json"},
		},
		{
			name: "get-failed",
			s: &script{
				document: document("failed",
					`,"finishedAt":"2026-01-02T03:04:06Z","error":{"code":"boom","message":"a\u0007b","retryable":false},"result":[1]`),
			},
			args: []string{"get", "0199-job"},
		},
		{
			name: "get-json", s: &script{document: document("completed", ",\n \"result\" : {\"a\": \"x\x7f\"}")},
			args: []string{"get", "0199-job", "--json"},
		},
		{
			name: "get-attempts",
			s: &script{
				document: document("completed",
					`,"attempts":[{"number":1,"worker":"w1","startedAt":"2026-01-02T03:04:05Z","endedAt":"2026-01-02T03:04:06Z","outcome":"released"},{"number":1,"worker":"w2","startedAt":"2026-01-02T03:04:06Z","endedAt":"2026-01-02T03:04:07.5Z","outcome":"failed","error":{"code":"busy","message":"later\u001b[2J","retryable":true}},{"number":2,"worker":"w1","startedAt":"2026-01-02T03:04:08Z"}]`),
			},
			args: []string{"get", "0199-job"},
		},
		{
			name: "watch-file",
			s: &script{
				subscribe: []string{status(4, "completed", `,"result":{"rows":3},"resultUrl":"/v1/jobs/0199-job/result"`)},
			},
			args: []string{"watch", "0199-job"},
		},
		{name: "result", s: &script{result: "day,sales\n"}, args: []string{"result", "0199-job"}},
		{name: "result-none", args: []string{"result", "0199-job"}},
		{
			name: "cancel", s: &script{order: strings.Replace(ack, `"pending"`, `"cancelled"`, 1)},
			args: []string{"cancel", "0199-job"}, sent: `{"type":"cancel"`,
		},
		{
			name: "cancel-running-json", s: &script{order: strings.Replace(ack, `"pending"`, `"processing"`, 1)},
			args: []string{"cancel", "0199-job", "--json"},
		},
		{
			name: "cancel-ended",
			s: &script{
				order: `{"type":"error","id":"%ID%","code":"invalid_state","title":"Not possible in this state","detail":"the job is completed already","retryable":false}`,
			},
			args: []string{"cancel", "0199-job"},
		},
		{
			name: "retry",
			s:    &script{order: strings.Replace(ack, `"pending"`, `"retrying"`, 1), subscribe: []string{completed}},
			args: []string{"retry", "0199-job"}, sent: `"jobId":"0199-job","watch":false`,
		},
		{
			name: "retry-no-wait", s: &script{order: strings.Replace(ack, `"pending"`, `"retrying"`, 1)},
			args: []string{"retry", "0199-job", "--no-wait"},
		},
		{
			name: "submit-in-and-run-at",
			args: []string{"submit", "demo.sleep", "--in", "1m", "--run-at", "2026-01-02T03:04:05Z"},
		},
		{name: "submit-negative-timeout", args: []string{"submit", "demo.sleep", "--timeout=-5s"}},
		{name: "submit-no-deadline", args: []string{"submit", "demo.sleep", "--deadline=0s"}},
		{name: "submit-negative-in", args: []string{"submit", "demo.sleep", "--in=-1m"}},
		{name: "submit-overflowing-timeout", args: []string{"submit", "demo.sleep", "--timeout=9999999h"}},
		{name: "get-unknown", args: []string{"get", "0199-job"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.s == nil {
				tc.s = &script{}
			}
			env := &Env{Stdin: strings.NewReader(tc.stdin)}
			golden(t, tc.name, run(t, env, tc.s.serve(t), tc.args...))
			tc.s.mu.Lock()
			defer tc.s.mu.Unlock()
			if tc.sent != "" && (len(tc.s.frames) == 0 || !strings.Contains(tc.s.frames[0], tc.sent)) {
				t.Errorf("sent %q, want %s", tc.s.frames, tc.sent)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := "http://" + ln.Addr().String()
	_ = ln.Close() // the address is not in use now
	for _, args := range [][]string{{"submit", "demo.echo"}, {"watch", "j1"}, {"get", "j1"}} {
		got := run(t, &Env{}, addr, args...)
		if !strings.HasPrefix(got, "exit code 2\n--- stdout\n--- stderr\nackwire: cannot reach http://ackwire.test: ") ||
			!strings.Contains(got, "refused") {
			t.Errorf("%v: %s", args, got)
		}
	}
}

func TestTokenIsSent(t *testing.T) {
	s := script{submit: []string{ack}}
	t.Setenv("ACKWIRE_TOKEN", "from-env")
	run(t, &Env{}, s.serve(t), "submit", "demo.echo", "--no-wait")
	if s.auth != "Bearer from-env" {
		t.Errorf("Authorization: %q", s.auth)
	}
}

// trigger calls f once a text has been written.
type trigger struct {
	bytes.Buffer
	text string
	f    func()
}

func (w *trigger) Write(b []byte) (int, error) {
	n, err := w.Buffer.Write(b)
	if w.f != nil && strings.Contains(w.String(), w.text) {
		w.f()
		w.f = nil
	}
	return n, err
}

func TestInterrupt(t *testing.T) {
	t.Run("after the ack", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := script{submit: []string{ack}}
		env := &Env{Context: ctx, Stderr: &trigger{text: "accepted", f: cancel}}
		golden(t, "interrupt", run(t, env, s.serve(t), "submit", "demo.sleep"))
	})
	t.Run("watching", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := script{subscribe: []string{status(2, "queued", "")}}
		env := &Env{Context: ctx, Stderr: &trigger{text: "queued", f: cancel}}
		golden(t, "interrupt-watch", run(t, env, s.serve(t), "watch", "0199-job"))
	})
	t.Run("before the ack", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := script{}
		url := s.serve(t)
		go func() {
			for sent := false; !sent; {
				if !pause.For(t.Context(), time.Millisecond) {
					return
				}
				s.mu.Lock()
				sent = len(s.frames) > 0
				s.mu.Unlock()
			}
			cancel()
		}()
		golden(t, "interrupt-early", run(t, &Env{Context: ctx}, url, "submit", "demo.sleep"))
	})
	t.Run("reading stdin", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close() // ends the read
		golden(t, "interrupt-stdin", run(t, &Env{Context: ctx, Stdin: r}, "http://127.0.0.1:1", "submit", "demo.sleep", "-"))
	})
}
