package main

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// run runs the command to its end.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), endsWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	cmd.Dir = t.TempDir()
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
	if err := os.WriteFile(file, []byte("partitions: 3\npartition: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ arg, want string }{
		{"--nonsense", "--nonsense"},
		{"nonsense", "nonsense"},
		{"--partitions=many", "--partitions"},
		{"--log-format=xml", "--log-format"},
		{"--config=" + file, "ackwire.yaml: line 2: unknown key \"partition\""},
		{"--config=missing.yaml", "missing.yaml"},
		{"--tracker-session-timeout=1s", "tracker-session-timeout must be between"},
		{"--tracker-listen=0.0.0.0:8090 --insecure-internal", "tracker-advertise must be set"},
		{"--tracker-listen=10.1.2.3:8090", "set internal-key-file, or internal-tls-cert"},
		{"--internal-tls-key=key.pem", "internal-tls-cert and internal-tls-key must be set together"},
	} {
		code, stdout, stderr := run(t, strings.Fields(c.arg)...)
		if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "tracker: ") ||
			!strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", c.arg, code, stdout, stderr)
		}
	}
}

// Several problems are told at once, one line each.
func TestAllProblemsAreTold(t *testing.T) {
	code, _, stderr := run(t, "--partitions=0", "--kafka=,", "--tracker-listen=x")
	if code != 2 || !strings.Contains(stderr, "partitions must be between") ||
		!strings.Contains(stderr, "empty broker address") || !strings.Contains(stderr, "listen: ") {
		t.Errorf("exit code %d, %q", code, stderr)
	}
}

func TestHelpTellsTheExitCode(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{{[]string{"--help"}, "exit code 2"}, {[]string{"serve", "--help"}, "--ops-listen"}} {
		code, stdout, stderr := run(t, c.args...)
		if code != 0 || stderr != "" || !strings.Contains(stdout, c.want) {
			t.Errorf("%q: exit code %d, stderr %q, stdout:\n%s", c.args, code, stderr, stdout)
		}
	}
}

// A port that is taken is told in one line, and is not wrong usage.
func TestAPortThatIsTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	at := taken.Addr().String()
	for _, flags := range [][]string{
		{"--ops-listen=" + at, "--tracker-listen=127.0.0.1:0"},
		{"--ops-listen=127.0.0.1:0", "--tracker-listen=" + at},
	} {
		code, stdout, stderr := run(t, append(flags, "--log-level=error", "--kafka=127.0.0.1:1")...)
		if code != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "tracker: ") ||
			!strings.Contains(stderr, "listen tcp "+at) {
			t.Errorf("%q: exit code %d, stdout %q, stderr %q", flags, code, stdout, stderr)
		}
	}
}

// A health check needs no setting but the listener's address.
func TestHealthAndVersion(t *testing.T) {
	if code, _, stderr := run(t, "--health", "--ops-listen=127.0.0.1:1", "--partitions=0"); code != 1 ||
		!strings.Contains(stderr, "refused") {
		t.Errorf("nobody there: exit code %d, %q", code, stderr)
	}
	if code, stdout, _ := run(t, "--version"); code != 0 || !strings.HasPrefix(stdout, "tracker dev (revision ") {
		t.Errorf("exit code %d, %q", code, stdout)
	}
}
