package external_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/external"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const payload = `{"text":"grüße"}`

// handle runs one job with a handler.
func handle(
	t *testing.T, ctx context.Context, h processor.RawHandler, timeout time.Duration, opts ...processor.Option,
) processortest.Outcome {
	t.Helper()
	got, err := processortest.Run(ctx, func(p *processor.Processor) { processor.HandleRaw(p, "text.count", h) },
		processortest.Job{
			Type: "text.count", Payload: json.RawMessage(payload), Attempt: 2, Tenant: "acme", Subject: "älice",
			Tags:    map[string]string{"customer": "c 1", "a": "é"},
			Timeout: job.Seconds(timeout),
		}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantFailure checks code, class and a part of the message.
func wantFailure(t *testing.T, what string, got processortest.Outcome, code string, retryable bool, message string) {
	t.Helper()
	f := got.Failure
	if got.Event != event.Failed || f == nil || f.Code != code || f.Retryable != retryable ||
		!strings.Contains(f.Message, message) {
		t.Errorf("%s: want %s, retryable %v, %q; got %s %+v", what, code, retryable, message, got.Event, f)
	}
}

func endpoint(
	t *testing.T, timeout time.Duration, callbacks *external.Callbacks, h http.HandlerFunc,
) processor.RawHandler {
	t.Helper()
	srv := httptest.NewServer(h)
	e, err := external.NewEndpoint(srv.URL, timeout, callbacks)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		srv.Close()
	})
	return e.Handle
}

func TestEndpointIsToldAndAnswers(t *testing.T) {
	got := handle(t, t.Context(), endpoint(t, time.Minute, nil, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if string(body) != payload || r.Method != http.MethodPost {
			t.Errorf("%s %s", r.Method, body)
		}
		for name, want := range map[string]string{"Ce-Specversion": "1.0", "Ce-Type": "text.count", "Ce-Id": "test-job",
			"Idempotency-Key": `"test-job"`,
			"Ackwire-Attempt": "2", "Ackwire-Max-Attempts": "3", "Ackwire-Dispatch": "1", "Ackwire-Tenant": "acme",
			"Ackwire-Subject": "%C3%A4lice", "Ackwire-Tags": "{%22a%22:%22%C3%A9%22,%22customer%22:%22c%201%22}",
			"Content-Type": "application/json"} {
			if got := r.Header.Get(name); got != want {
				t.Errorf("header %s is %q, want %q", name, got, want)
			}
		}
		if r.Header.Get("Ackwire-Run") == "" || r.Header.Get("Ce-Time") == "" {
			t.Error("no run, or no time")
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, `{"words":1}`)
	}), 0)
	if got.Event != event.Completed || string(got.Result) != `{"words":1}` {
		t.Errorf("%+v", got)
	}
}

func TestEndpointsAnswers(t *testing.T) {
	for _, c := range []struct {
		what        string
		status      int
		contentType string
		body        string
		code        string // "" completes
		retryable   bool
		message     string
		result      string
	}{
		{"nothing", 204, "", "", "", false, "", ""},
		{"an empty 200", 200, "", "", "", false, "", ""},
		{"a list", 201, "application/vnd.x+json", "[1]", "", false, "", "[1]"},
		{"HTML", 200, "text/html", "<p>", "invalid_result", false, "text/html", ""},
		{"broken JSON", 200, "application/json", "{", "invalid_result", false, "not JSON", ""},
		{
			"too much", 200, "application/json", `"` + strings.Repeat("x", external.MaxResult) + `"`,
			"result_too_large", false, "bytes", "",
		},
		{"a redirect", 302, "", "", "http_302", false, "302", ""},
		{"a bad request", 400, "text/plain", " no such user \n", "http_400", false, "no such user", ""},
		{
			"a problem", 422, "application/problem+json", `{"title":"Nope","detail":"the address is not known"}`,
			"http_422", false, "the address is not known", "",
		},
		{
			"its own code", 404, "application/json", `{"code":"no_such_user","message":"gone"}`, "no_such_user", false,
			"gone", "",
		},
		{"an error object", 500, "application/json", `{"error":{"code":"db","message":"locked"}}`, "db", true, "locked", ""},
		{"too early", 425, "", "", "http_425", true, "425", ""},
		{"a timeout", 408, "", "", "http_408", true, "408", ""},
		{"too many", 429, "", "", "http_429", true, "429", ""},
		{"an overload", 503, "", "", "http_503", true, "503", ""},
		{"accepted, and nobody listens", 202, "", "", "invalid_result", false, "202", ""},
	} {
		got := handle(t, t.Context(), endpoint(t, time.Minute, nil, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.contentType)
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}), 0)
		if c.code == "" {
			if got.Event != event.Completed || string(got.Result) != c.result {
				t.Errorf("%s: %s %s %+v", c.what, got.Event, got.Result, got.Failure)
			}
			continue
		}
		wantFailure(t, c.what, got, c.code, c.retryable, c.message)
		if after := got.Failure.RetryAfter; c.retryable != (after != nil && after.Duration() == 7*time.Second) {
			t.Errorf("%s: retryAfter %v", c.what, after)
		}
	}
}

func TestEndpointThatIsNotThere(t *testing.T) {
	e, err := external.NewEndpoint("http://127.0.0.1:1/secret?token=x", time.Minute, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := handle(t, t.Context(), e.Handle, 0)
	wantHandedBack(t, "nobody listens", got, "http_unreachable", "refused")
	if strings.Contains(got.Failure.Message, "token=x") {
		t.Errorf("the URL's secret is in %q", got.Failure.Message)
	}
	hang := make(chan struct{})
	defer close(hang)
	slow := func(http.ResponseWriter, *http.Request) { <-hang }
	wantFailure(t, "one that hangs", handle(t, t.Context(), endpoint(t, 50*time.Millisecond, nil, slow), 0),
		"http_timeout", true, "in time")
	wantFailure(t, "the job's own timeout", handle(t, t.Context(), endpoint(t, time.Minute, nil, slow),
		50*time.Millisecond), "timeout", true, "timeout")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(processor.ErrCancelled) })
	wantFailure(t, "a cancelled job", handle(t, ctx, endpoint(t, time.Minute, nil, slow), 0), "cancelled", false, "")
	for _, bad := range []string{"", "ftp://x", "/path", "http://", "http://a b"} {
		if _, err := external.NewEndpoint(bad, 0, nil); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestCallbacksOfAnotherServer: a program can serve callbacks with a server of its own.
func TestCallbacksOfAnotherServer(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	if _, err := external.NewCallbacks(nil, ""); err == nil {
		t.Error("callbacks that nobody can reach were made")
	}
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	defer srv.Close()
	c, err := external.NewCallbacks(nil, srv.URL+"/workers/")
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/workers/", http.StripPrefix("/workers", c))
	if err := c.Run(t.Context()); err == nil {
		t.Error("it serves without a listener")
	}
	h := endpoint(t, time.Minute, c, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusAccepted)
		go post(r.Header.Get("Ackwire-Callback"), "application/json", `{"result":7}`)
	})
	if out := handle(t, t.Context(), h, 0); string(out.Result) != "7" {
		t.Errorf("got %+v", out)
	}
}

func post(url, contentType, body string) int {
	resp, err := http.Post(url, contentType, strings.NewReader(body))
	if err != nil {
		return 0
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// wantProblem posts progress that is not valid.
func wantProblem(t *testing.T, url, body, detail string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	var problem struct {
		Code, Detail string
		Status       int
	}
	err = errors.Join(json.NewDecoder(resp.Body).Decode(&problem), resp.Body.Close())
	if err != nil || resp.StatusCode != http.StatusBadRequest || problem.Status != http.StatusBadRequest ||
		problem.Code != "invalid_progress" || !strings.Contains(problem.Detail, detail) {
		t.Errorf("%.100s: %d %+v, %v", body, resp.StatusCode, problem, err)
	}
}

func TestCallbacks(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	c, err := external.NewCallbacks(listen(t), "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	later := func(words func(url string)) processor.RawHandler {
		return endpoint(t, time.Minute, c, func(w http.ResponseWriter, r *http.Request) {
			url := r.Header.Get("Ackwire-Callback")
			w.WriteHeader(http.StatusAccepted)
			go words(url)
		})
	}
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	const asJSON = "application/json"
	gone := make(chan int, 1)
	got := handle(t, t.Context(), later(func(url string) {
		want("progress", post(url, asJSON, `{"progress":{"current":3,"total":4,"message":"three"}}`), 204)
		want("a stage", post(url, asJSON, `{"progress":{"percent":80,"stage":"count","data":{"words":[3, 4]}}}`), 204)
		wantProblem(t, url, `{"progress":{"percent":90,"stage":"Count the words","data":1}}`, "the stage")
		wantProblem(t, url, `{"progress":{"percent":90,"data":"`+strings.Repeat("x", 4095)+`"}}`, "4097 bytes")
		want("no JSON", post(url, asJSON, `progress`), 400)
		want("two words", post(url, asJSON, `{"progress":{"percent":1},"result":1}`), 400)
		want("null", post(url, asJSON, `{"progress":null}`), 400)
		want("another content type", post(url, "text/plain", `{"result":1}`), 415)
		want("too much", post(url, asJSON, `{"result":"`+strings.Repeat("x", external.MaxResult)+`"}`), 413)
		want("a URL that is guessed", post(url[:len(url)-1]+"_", asJSON, `{"result":0}`), 410)
		want("the result", post(url, asJSON, `{"result":{"words":1}}`), 204)
		gone <- post(url, asJSON, `{"error":{"message":"late"}}`)
	}), 0)
	if got.Event != event.Completed || string(got.Result) != `{"words":1}` {
		t.Errorf("%+v %+v", got, got.Failure)
	}
	want("a second outcome", <-gone, 410)
	if p := got.Progress; !reflect.DeepEqual(p, []job.Progress{
		{Percent: 75, Current: 3, Total: 4, Message: "three"},
		{Percent: 80, Stage: "count", Data: json.RawMessage(`{"words":[3,4]}`)},
	}) {
		t.Errorf("progress %+v", p)
	}
	wantFailure(t, "an error", handle(t, t.Context(), later(func(url string) {
		post(url, asJSON, `{"error":{"code":"db","message":"locked","retryAfter":3}}`)
	}), 0), "db", true, "locked")
	wantFailure(t, "a permanent one", handle(t, t.Context(), later(func(url string) {
		post(url, asJSON, `{"error":{"message":"no","retryable":false}}`)
	}), 0), "http_callback", false, "no")
	wantFailure(t, "no callback", handle(t, t.Context(), later(func(string) {}), 50*time.Millisecond), "timeout", true,
		"timeout")
}

func command(t *testing.T, script string, env ...string) processor.RawHandler {
	t.Helper()
	c, err := external.NewCommand([]string{"sh", "-c", script}, env, "")
	if err != nil {
		t.Fatal(err)
	}
	return c.Handle
}

func TestCommandsAnswers(t *testing.T) {
	for _, c := range []struct {
		what, script string
		code         string // "" completes
		retryable    bool
		message      string
		result       string
	}{
		{"the payload back", `cat`, "", false, "", payload},
		{"nothing", `true`, "", false, "", ""},
		{"the last line counts", `echo 1; echo; echo '{"words":2}'`, "", false, "", `{"words":2}`},
		{"a wrapped result", `echo '{"result":{"progress":1}}'`, "", false, "", `{"progress":1}`},
		{"no end of line", `printf 7`, "", false, "", "7"},
		{"text", `echo hello`, "invalid_result", false, "hello", ""},
		{"a broken word", `echo '{"progress":"half"}'`, "invalid_result", false, "could not be read", ""},
		{"a stage for people", `echo '{"progress":{"stage":"Word by word"}}'; sleep 60`, "invalid_progress", false, "the stage", ""},
		{"a long stage", `printf '{"progress":{"stage":"%065d"}}' 0`, "invalid_progress", false, "1 to 64", ""},
		{"too much data", `printf '{"progress":{"data":"%04095d"}}' 0`, "invalid_progress", false, "4097 bytes", ""},
		{"a key of data twice", `echo '{"progress":{"data":{"a":1,"a":2}}}'`, "invalid_result", false, "twice", ""},
		{"too much", `head -c 9000000 /dev/zero | tr '\0' x`, "result_too_large", false, "bytes", ""},
		{"an error", `echo '{"error":{"code":"db","message":"locked","retryAfter":3}}'`, "db", true, "locked", ""},
		{"a permanent one", `echo '{"error":{"message":"no","retryable":false}}'; exit 1`, "command_failed", false, "no", ""},
		{"exit 1", `echo first >&2; echo 'disk is full' >&2; exit 1`, "exit_1", true, "disk is full", ""},
		{"exit 65", `exit 65`, "exit_65", false, "exit status 65", ""},
		{"exit 75", `exit 75`, "exit_75", true, "exit status 75", ""},
		{"exit 78", `exit 78`, "exit_78", false, "78", ""},
		{"killed", `kill -9 $$`, "command_killed", true, "killed", ""},
		{"a result and then exit 3", `echo 1; exit 3`, "exit_3", true, "exit status 3", ""},
		{"a grandchild that holds stdout", `sleep 60 & echo 1`, "", false, "", "1"},
	} {
		got := handle(t, t.Context(), command(t, c.script), 0)
		if c.code == "" {
			if got.Event != event.Completed || string(got.Result) != c.result {
				t.Errorf("%s: %s %s %+v", c.what, got.Event, got.Result, got.Failure)
			}
			continue
		}
		wantFailure(t, c.what, got, c.code, c.retryable, c.message)
	}
}

func TestCommandTellsProgress(t *testing.T) {
	got := handle(t, t.Context(),
		command(t, `echo '{"progress":{"percent":10,"message":"reading"}}'; echo '{"progress":{"current":1,"total":2}}'; echo '{}'`), 0)
	if p := got.Progress; len(p) != 2 || p[0].Message != "reading" || p[1].Percent != 50 || string(got.Result) != "{}" {
		t.Errorf("%+v %s", p, got.Result)
	}
}

func TestCommandTellsStages(t *testing.T) {
	got := handle(t, t.Context(), command(t, `echo '{"progress":{"percent":10,"stage":"read","data":{ "lines" : 7 }}}'
		printf '{"progress":{"stage":"%064d","data":"%04094d"}}\n' 0 0
		echo '{"progress":{"data":null}}'; echo '{"progress":{"percent":20}}'; echo 1`), 0)
	if got.Event != event.Completed {
		t.Fatalf("%s %+v", got.Event, got.Failure)
	}
	want := []job.Progress{
		{Percent: 10, Stage: "read", Data: json.RawMessage(`{"lines":7}`)},
		{Percent: 10, Stage: strings.Repeat("0", 64), Data: json.RawMessage(`"` + strings.Repeat("0", 4094) + `"`)},
		{Percent: 10, Data: json.RawMessage(`null`)}, {Percent: 20},
	}
	if !reflect.DeepEqual(got.Progress, want) {
		t.Errorf("progress %+v", got.Progress)
	}
}

func TestCommandSeesLittle(t *testing.T) {
	t.Setenv("SECRET", "hidden")
	t.Setenv("ALLOWED", "yes")
	got := handle(t, t.Context(),
		command(t, `printf '{"secret":"%s","allowed":"%s","job":"%s","attempt":"%s","tenant":"%s","home":"%s","dir":"%s"}' "$SECRET" "$ALLOWED" $ACKWIRE_JOB_ID $ACKWIRE_JOB_ATTEMPT $ACKWIRE_JOB_TENANT $HOME $(pwd)`, "ALLOWED"), 0)
	var saw map[string]string
	if err := json.Unmarshal(got.Result, &saw); err != nil {
		t.Fatalf("%v: %+v", err, got)
	}
	if saw["secret"] != "" || saw["allowed"] != "yes" || saw["job"] != "test-job" || saw["attempt"] != "2" ||
		saw["tenant"] != "acme" || saw["home"] != saw["dir"] {
		t.Errorf("it saw %v", saw)
	}
	if _, err := os.Stat(saw["dir"]); !os.IsNotExist(err) {
		t.Errorf("its directory is still there: %v", err)
	}
}

// TestCommandIsKilledWithItsChildren on a cancel and on a timeout.
func TestCommandIsKilledWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	script := fmt.Sprintf(`trap '' TERM; (trap '' TERM; sleep 61) & echo $! $$ > %s; sleep 62; sleep 63`, pids)
	var alive atomic.Bool
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for !alive.Load() {
			if b, err := os.ReadFile(pids); err == nil && len(b) > 0 {
				alive.Store(true)
			}
		}
		cancel(processor.ErrCancelled)
	}()
	began := time.Now()
	wantFailure(t, "cancelled", handle(t, ctx, command(t, script), 0), "cancelled", false, "")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(b)) {
		var pid int
		_, _ = fmt.Sscan(field, &pid)
		for tries := 0; syscall.Kill(pid, 0) == nil && !zombie(pid); tries++ {
			if tries > 1_000_000 {
				t.Fatalf("process %d is still alive", pid)
			}
		}
	}
	wantFailure(t, "timed out", handle(t, t.Context(), command(t, "sleep 60"), 50*time.Millisecond), "timeout", true,
		"timeout")
}

// zombie reports whether only the process's entry is left.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestBadCommands(t *testing.T) {
	for what, f := range map[string]func() (*external.Command, error){
		"none": func() (*external.Command, error) { return external.NewCommand(nil, nil, "") },
		"not installed": func() (*external.Command, error) {
			return external.NewCommand([]string{"no-such-program"}, nil, "")
		},
		"no such folder": func() (*external.Command, error) {
			return external.NewCommand([]string{"sh"}, nil, "/no/such/dir")
		},
		"a file as folder": func() (*external.Command, error) {
			return external.NewCommand([]string{"sh"}, nil, "/etc/passwd")
		},
	} {
		if _, err := f(); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}
