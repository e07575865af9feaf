package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// asCommand makes the test binary be the command.
const asCommand = "TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// endsWithin bounds every process that a test starts.
const endsWithin = 30 * time.Second

// process is the command, not started yet.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), endsWithin)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Dir = t.TempDir()
	return cmd
}

// run runs the command to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := process(t, args...)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

func TestWrongUsageExitsWith2(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ackwire.yaml")
	if err := os.WriteFile(file, []byte("slots: 3\nslot: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	synced := filepath.Join(t.TempDir(), "broker.yaml")
	if err := os.WriteFile(synced, []byte("sync: true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "serve"},
		{[]string{"nonsense"}, "nonsense"},
		{[]string{"serve", "--nonsense"}, "--nonsense"},
		{[]string{"serve", "--slots=many"}, "--slots"},
		{[]string{"serve", "--config=" + file}, "ackwire.yaml: line 2: unknown key \"slot\""},
		{[]string{"serve", "--kafka-listen=0.0.0.0:9092"}, "kafka-advertise must say where clients reach it"},
		{[]string{"serve", "--config=" + synced}, `key "sync" is not a setting here, but of "ackwire broker"`},
		{[]string{"submit", "demo.echo", "--config=" + synced}, `key "sync" is not a setting here`},
		{[]string{"serve", "--kafka-advertise=localhost:0"}, "kafka-advertise must be host:port"},
		{[]string{"broker", "--nonsense"}, "--nonsense"},
		{[]string{"token"}, "--tenant"},
		{[]string{"submit", "--nonsense"}, "--nonsense"},
		{[]string{"get"}, "<"},
	} {
		code, stdout, stderr := run(t, c.args...)
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "ackwire: ") ||
			!strings.Contains(stderr, c.want) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", c.args, code, stdout, stderr)
		}
	}
}

func TestHelpTellsTheExitCode(t *testing.T) {
	code, stdout, stderr := run(t, "--help")
	if code != 0 || stderr != "" || !strings.Contains(stdout, "exit code 2") {
		t.Errorf("exit code %d, stderr %q, stdout:\n%s", code, stderr, stdout)
	}
}

// What cannot be started is told in one line, and is not wrong usage.
func TestServeSaysInOneLineWhyItCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	at := taken.Addr().String()
	free := []string{
		"serve", "--log-level=error", "--no-processor", "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--tracker-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0",
	}
	for _, c := range []struct{ name, flag, want string }{
		{"the clients' port is taken", "--listen=" + at, at},
		{"the ops port is taken", "--ops-listen=" + at, "ops listener: listen tcp " + at},
		{"the tracker's port is taken", "--tracker-listen=" + at, at},
		{"Kafka's port is taken", "--kafka-listen=" + at, "kafka listener: listen tcp " + at},
		{"the data folder is a file", "--data=" + file, "data folder"},
	} {
		code, stdout, stderr := run(t, append(free, c.flag)...)
		if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "ackwire: ") ||
			!strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", c.name, code, stdout, stderr)
		}
	}
}

func TestASecondBrokerOnAFolderNamesTheFirst(t *testing.T) {
	dir := t.TempDir()
	first := process(t, "broker", "--data="+dir, "--listen=127.0.0.1:0")
	stderr, err := first.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stderr)
	for ready := false; !ready; {
		if !lines.Scan() {
			t.Fatalf("the broker ended: %v", first.Wait())
		}
		ready = strings.Contains(lines.Text(), "broker ready")
	}
	code, _, said := run(t, "broker", "--data="+dir, "--listen=127.0.0.1:0")
	if want := fmt.Sprintf("ackwire: another process uses this data folder: %s (held by process %d)\n", dir,
		first.Process.Pid); code != 1 || said != want {
		t.Errorf("exit code %d, %q, want %q", code, said, want)
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(stderr)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Errorf("a stop that was asked for: %v, %s", err, rest)
	}
}

// With port 0 everywhere the system chooses, everything finds each other and the banner tells where.
func TestServeOnAnyPorts(t *testing.T) {
	serve := process(t, "serve", "--log-level=error", "--partitions=1", "--no-processor", "--data="+t.TempDir(),
		"--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0", "--tracker-listen=127.0.0.1:0", "--kafka-listen=127.0.0.1:0")
	stdout, err := serve.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	at := map[string]string{}
	for lines := bufio.NewScanner(stdout); at["Kafka"] == "" && lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 {
			at[fields[0]] = strings.TrimPrefix(fields[1], "http://")
		}
	}
	for _, what := range []string{"clients", "ops", "Kafka"} {
		conn, err := net.DialTimeout("tcp", at[what], time.Second)
		if err != nil || strings.HasSuffix(at[what], ":0") {
			t.Errorf("%s at %q: %v", what, at[what], err)
			continue
		}
		_ = conn.Close()
	}
	if err := serve.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := serve.Wait(); err != nil {
		t.Error(err)
	}
}

func TestToken(t *testing.T) {
	dir := t.TempDir()
	for _, command := range []string{"token", "webhook-secret"} {
		code, stdout, stderr := run(t, command, "--data="+dir, "--tenant=acme")
		if code != 2 || stdout != "" || !strings.Contains(stderr, "token.key is not there") {
			t.Errorf("%s in a folder without a key: exit code %d, stdout %q, stderr %q", command, code, stdout, stderr)
		}
	}
	if made, err := os.ReadDir(dir); err != nil || len(made) > 0 {
		t.Errorf("they made %v, %v", made, err)
	}
	if code, _, stderr := run(t, "keys", "--data="+dir); code != 0 {
		t.Fatalf("keys: exit code %d, %q", code, stderr)
	}
	if code, _, stderr := run(t, "token", "--data="+dir, "--tenant=acme", "--ttl=-1s"); code == 0 ||
		!strings.Contains(stderr, "ttl must be positive") {
		t.Errorf("a time to live below zero: exit code %d, %q", code, stderr)
	}
	code, stdout, stderr := run(t, "token", "--data="+dir, "--tenant=acme", "--subject=alice")
	if code != 0 || stderr != "" || strings.Count(strings.TrimSpace(stdout), ".") != 2 {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
	file := filepath.Join(dir, "token.key")
	if err := os.WriteFile(file, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = run(t, "token", "--data="+dir, "--tenant=acme")
	if code == 0 || stdout != "" || strings.Count(stderr, "\n") != 1 ||
		!strings.Contains(stderr, file+" has 5 bytes, not 32") {
		t.Errorf("a key that is none: exit code %d, stdout %q, stderr %q", code, stdout, stderr)
	}
}
