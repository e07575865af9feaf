// Package process tests Ackwire as processes of their own: built binaries, real sockets,
// SIGKILL. The same test runs on the embedded broker and on a real Kafka.
package process

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafkatest"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/schemas/job"
)

const (
	startWithin = 60 * time.Second
	testWithin  = 4 * time.Minute
	inFlight    = 500
)

// binaries holds the built commands.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "ackwire-bin")
	if err != nil {
		panic(err)
	}
	binaries = dir
	for name, pkg := range map[string]string{"ackwire": "embedded/cmd/ackwire", "gateway": "gateway/cmd/gateway",
		"tracker": "tracker/cmd/tracker", "processor": "processor/cmd/processor"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), "./"+pkg)
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			os.Exit(1)
		}
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// proc is one process that can be killed and started again.
type proc struct {
	t     *testing.T
	name  string
	args  []string
	ready string // URL of /readyz
	cmd   *exec.Cmd
	log   *tail
}

// tail keeps the end of what a process printed.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (l *tail) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.b = append(l.b, b...)
	if over := len(l.b) - 16<<10; over > 0 {
		l.b = l.b[over:]
	}
	return len(b), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.b)
}

// count returns the number of lines that have all the texts.
func (l *tail) count(texts ...string) (n int) {
	for line := range strings.Lines(l.String()) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

func start(t *testing.T, name, ops string, args ...string) *proc {
	t.Helper()
	p := &proc{t: t, name: name, args: args, ready: "http://" + ops + "/readyz", log: &tail{}}
	p.start()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s printed at last:\n%s", name, p.log)
		}
	})
	p.waitReady()
	return p
}

func (p *proc) start() {
	p.t.Helper()
	p.cmd = exec.Command(filepath.Join(binaries, p.name), p.args...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
}

// kill is kill -9.
func (p *proc) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

func (p *proc) waitReady() {
	p.t.Helper()
	within(p.t, startWithin, p.name+" is ready", func() bool {
		resp, err := http.Get(p.ready)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode == http.StatusOK
	})
}

func within(t *testing.T, d time.Duration, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, d)
		}
	}
}

// addrs finds n addresses that are not in use.
func addrs(t *testing.T, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out[i] = l.Addr().String()
	}
	return out
}

// dial returns a client that lives as long as the test, and a context that bounds what the test does with it.
func dial(t *testing.T, url string) (context.Context, *ackwire.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testWithin)
	t.Cleanup(cancel)
	c, err := ackwire.Dial(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return ctx, c
}

// jobTypes writes a file of job types and returns its name.
func jobTypes(t *testing.T, yaml string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "jobtypes.yaml")
	if err := os.WriteFile(name, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// load submits jobs while a fault strikes half-way, and then wants every acked one to end
// completed, with rising versions.
func load(t *testing.T, url string, strike func()) {
	t.Helper()
	ctx, c := dial(t, url)
	var mu sync.Mutex
	var acked []*ackwire.Job
	var wg sync.WaitGroup
	half := make(chan struct{})
	for i := range inFlight {
		wg.Go(func() {
			if i >= inFlight/2 {
				<-half
			}
			j, err := submit(ctx, c, fmt.Sprint("job ", i))
			if err != nil {
				t.Errorf("submit: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			acked = append(acked, j)
			if len(acked) == inFlight/4 {
				close(half)
			}
		})
	}
	<-half
	strike()
	wg.Wait()
	for _, j := range acked {
		var last ackwire.Status
		for s, err := range j.Watch(ctx) {
			if err != nil {
				t.Fatalf("watch %s: %v", j.ID, err)
			}
			if s.Version <= last.Version {
				t.Errorf("job %s: version %d after %d", j.ID, s.Version, last.Version)
			}
			last = s
		}
		if last.State != job.Completed {
			t.Errorf("job %s ended %s: %+v", j.ID, last.State, last.Error)
		}
		if _, err := c.Job(j.ID).Get(ctx); err != nil {
			t.Errorf("get %s: %v", j.ID, err)
		}
	}
	t.Logf("%d of %d submits acked, all of them completed", len(acked), inFlight)
}

// getJob reads a job's document over a connection of its own.
func getJob(ctx context.Context, url, jobID string) (ackwire.Status, error) {
	api, err := ackwire.NewHTTP(url)
	if err != nil {
		return ackwire.Status{}, err
	}
	defer api.CloseIdleConnections()
	return api.Job(jobID).Get(ctx)
}

// submit says the same key again for as long as it is told to.
func submit(ctx context.Context, c *ackwire.Client, key string) (*ackwire.Job, error) {
	for {
		j, err := c.Submit(ctx, "demo.sleep", json.RawMessage(`{"seconds":1,"steps":2}`), ackwire.Key(key))
		var e *ackwire.Error
		if !errors.As(err, &e) || !e.Retryable {
			return j, err
		}
		if !pause.For(ctx, e.RetryDelay()) {
			return nil, err
		}
	}
}

func serveArgs(data string, a []string) []string {
	return []string{
		"serve", "--data", data, "--listen", a[0], "--ops-listen", a[1], "--tracker-listen", a[2], "--kafka-listen",
		a[3],
	}
}

func TestEmbeddedSurvivesKill9With500JobsInFlight(t *testing.T) {
	a := addrs(t, 4)
	p := start(t, "ackwire", a[1], serveArgs(t.TempDir(), a)...)
	load(t, "http://"+a[0], func() {
		p.kill()
		p.start()
		p.waitReady()
	})
}

// services starts gateway, tracker and processor beside a broker, all with some more flags.
func services(t *testing.T, brokers string, flags ...string) (url string, all map[string]*proc) {
	t.Helper()
	a := addrs(t, 5)
	all = map[string]*proc{}
	start := func(t *testing.T, name, ops string, args ...string) *proc {
		t.Helper()
		return start(t, name, ops, append(args, flags...)...)
	}
	all["tracker"] = start(t, "tracker", a[1], "--kafka", brokers, "--data", t.TempDir(), "--tracker-listen", a[0],
		"--ops-listen", a[1], "--tracker-session-timeout", "6s")
	all["gateway"] = start(t, "gateway", a[3], "--kafka", brokers, "--listen", a[2], "--ops-listen", a[3],
		"--anonymous-tenant", "local")
	all["processor"] = start(t, "processor", a[4], "--kafka", brokers, "--lanes", "default,reports", "--demo",
		"--ops", a[4])
	return "http://" + a[2], all
}

func eachKilled(t *testing.T, brokers string, flags ...string) {
	url, all := services(t, brokers, flags...)
	for _, name := range []string{"gateway", "tracker", "processor"} {
		t.Run(name, func(t *testing.T) {
			load(t, url, func() {
				all[name].kill()
				all[name].start()
				all[name].waitReady()
			})
		})
	}
	t.Run("all of them", func(t *testing.T) {
		load(t, url, func() {
			for _, p := range all {
				p.kill()
			}
			for _, p := range all {
				p.start()
			}
			for _, p := range all {
				p.waitReady()
			}
		})
	})
}

// TestEachServiceSurvivesKill9OnARealKafka runs over TLS and SCRAM, as a production Kafka does.
func TestEachServiceSurvivesKill9OnARealKafka(t *testing.T) {
	s := startSecured(t, kafkatest.Credentials{})
	eachKilled(t, s.broker.SASL, s.flags()...)
}

// TestServeOnARealKafkaSurvivesKill9: all services in one process, on a Kafka that is not theirs.
func TestServeOnARealKafkaSurvivesKill9(t *testing.T) {
	c := kafkatest.Start(t, 1)
	a := addrs(t, 3)
	p := start(t, "ackwire", a[1], "serve", "--kafka", strings.Join(c.Brokers(), ","), "--data", t.TempDir(),
		"--listen", a[0], "--ops-listen", a[1], "--tracker-listen", a[2], "--tracker-session-timeout", "6s")
	load(t, "http://"+a[0], func() {
		p.kill()
		p.start()
		p.waitReady()
	})
}

func TestABrokerOfThreeDiesUnderLoad(t *testing.T) {
	c := kafkatest.Start(t, 3)
	url, _ := services(t, strings.Join(c.Brokers(), ","))
	load(t, url, func() {
		c.Kill(t, 0)
		c.Restart(t, 0)
	})
	c.WaitReady(t)
}

// one runs a command to its end and returns its exit code and what it printed.
func one(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	var b bytes.Buffer
	cmd := exec.CommandContext(ctx, filepath.Join(binaries, args[0]), args[1:]...)
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), b.String()
}

func TestTheCommandLineEndToEnd(t *testing.T) {
	a := addrs(t, 4)
	data := t.TempDir()
	p := start(t, "ackwire", a[1], serveArgs(data, a)...)
	url := "http://" + a[0]
	for _, row := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"completed", []string{"submit", "--url", url, "demo.echo", `{"n":1}`}, 0, `"n": 1`},
		{"failed", []string{"submit", "--url", url, "demo.fail", `{"message":"sorry"}`}, 1, "sorry"},
		{"refused", []string{"submit", "--url", url, "demo.sleep", `{"seconds":"x"}`}, 2, "/seconds"},
		{"unknown type", []string{"submit", "--url", url, "no.such", `{}`}, 2, "unknown_job_type"},
		{"list", []string{"list", "--url", url, "--state", "failed", "--limit", "5"}, 0, "demo.fail"},
		{"list as JSON", []string{"list", "--url", url, "--type", "demo.echo", "--json"}, 0, `"state":"completed"`},
		{"stats", []string{"stats", "--url", url}, 0, "demo.fail"},
		{"why no such job", []string{"why", "--url", url, "01a208fd-2dc6-7467-acd5-bb987da2c71e"}, 2, "not_found"},
		{"no such job", []string{"get", "--url", url, "01a208fd-2dc6-7467-acd5-bb987da2c71e"}, 2, "not_found"},
		{
			"a bad token", []string{"get", "--url", url, "--token", "x.y.z", "01a208fd-2dc6-7467-acd5-bb987da2c71e"},
			2, "unauthenticated",
		},
		{"nobody there", []string{"get", "--url", "http://127.0.0.1:1", "01a208fd-2dc6-7467-acd5-bb987da2c71e"}, 2, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, out := one(t, append([]string{"ackwire"}, row.args...)...)
			if code != row.code || !strings.Contains(out, row.says) {
				t.Errorf("exit code %d, want %d; printed:\n%s", code, row.code, out)
			}
		})
	}
	t.Run("another tenant sees nothing", func(t *testing.T) {
		_, token := one(t, "ackwire", "token", "--data", data, "--tenant", "alice")
		token = strings.TrimSpace(token)
		_, ack := one(t, "ackwire", "submit", "--url", url, "--json", "--no-wait", "demo.echo", "1")
		var doc struct{ JobID string }
		if err := json.Unmarshal([]byte(strings.SplitN(ack, "\n", 2)[0]), &doc); err != nil || doc.JobID == "" {
			t.Fatalf("%v in %q", err, ack)
		}
		if code, out := one(t, "ackwire", "get", "--url", url, "--token", token, doc.JobID); code != 2 ||
			!strings.Contains(out, "not_found") {
			t.Errorf("exit code %d: %s", code, out)
		}
		if code, out := one(t, "ackwire", "get", "--url", url, doc.JobID); code != 0 {
			t.Errorf("its own tenant: exit code %d: %s", code, out)
		}
	})
	t.Run("a second serve is refused", func(t *testing.T) {
		code, out := one(t, append([]string{"ackwire"}, serveArgs(data, addrs(t, 4))...)...)
		if code == 0 || !strings.Contains(out, "another process uses this data folder") ||
			strings.Count(strings.TrimSpace(out), "\n") > 0 {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("a taken port is said", func(t *testing.T) {
		code, out := one(t, append([]string{"ackwire"}, serveArgs(t.TempDir(), a)...)...)
		if code == 0 || !strings.Contains(out, "address already in use") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("a polite stop", func(t *testing.T) {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("SIGTERM: %v", err)
		}
		p.start()
		p.waitReady()
	})
}

func TestKafkaAwayIsSaidByReadyz(t *testing.T) {
	a := addrs(t, 3)
	p := &proc{
		t: t, name: "gateway",
		args: []string{"--kafka", a[0], "--listen", a[1], "--ops-listen", a[2], "--anonymous-tenant", "local"},
		log:  &tail{},
	}
	p.start()
	t.Cleanup(p.kill)
	var body []byte
	within(t, startWithin, "not ready with a reason", func() bool {
		resp, err := http.Get("http://" + a[2] + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, _ = io.ReadAll(resp.Body)
		return resp.StatusCode == http.StatusServiceUnavailable && bytes.Contains(body, []byte("Kafka"))
	})
	resp, err := http.Post("http://"+a[1]+"/v1/jobs",
		"application/json", strings.NewReader(`{"job":"demo.echo","payload":1}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ = io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusServiceUnavailable || !bytes.Contains(body, []byte(`"code":"unavailable"`)) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}
