// Package docker tests what is shipped: the images, and docker-compose.yml with them.
package docker

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// commandTimeout bounds every command that says no other bound.
const commandTimeout = 2 * time.Minute

// require skips the test where images are not to be tested: make test-images does.
func require(t *testing.T) {
	t.Helper()
	if os.Getenv("ACKWIRE_TEST_IMAGES") != "1" {
		t.Skip("needs Docker and freshly built images: make test-images")
	}
}

// root is the workspace's.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs a program in the workspace's root and returns what it wrote, stderr apart.
type command struct {
	env     []string
	timeout time.Duration
}

func (c command) run(
	ctx context.Context, dir, name string, args ...string,
) (stdout, stderr string, code int, err error) {
	timeout := c.timeout
	if timeout == 0 {
		timeout = commandTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), c.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		code, err = exit.ExitCode(), nil
	}
	return strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), code, err
}

// must runs a program that has to succeed and returns its stdout.
func (c command) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	stdout, stderr, code, err := c.run(t.Context(), root(t), name, args...)
	if err != nil || code != 0 {
		t.Fatalf("%s %s: exit code %d, %v\n%s\n%s", name, strings.Join(args, " "), code, err, stdout, stderr)
	}
	return stdout
}

// told runs a program that has to succeed and to say something, and returns that: an engine that
// knows no answer to a question may say nothing.
func (c command) told(t *testing.T, name string, args ...string) string {
	t.Helper()
	stdout := c.must(t, name, args...)
	if stdout == "" || stdout == "<no value>" {
		t.Fatalf("%s %s: it says nothing (%q)", name, strings.Join(args, " "), stdout)
	}
	return stdout
}

// until asks again, twice a second, until ok says so.
func until(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	await(t, what, within, func() string {
		if ok() {
			return ""
		}
		return "no"
	})
}

// await asks again, twice a second, until nothing is missing.
func await(t *testing.T, what string, within time.Duration, missing func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		left := missing()
		if left == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %s", what, within, left)
		}
	}
}
