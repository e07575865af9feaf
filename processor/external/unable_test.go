//go:build unix

package external_test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/processor/external"
	"github.com/ackwire/ackwire/processor/processortest"
	"github.com/ackwire/ackwire/schemas/event"
)

func wantHandedBack(t *testing.T, what string, got processortest.Outcome, code, message string) {
	t.Helper()
	if f := got.Failure; got.Event != event.Released || f == nil || f.Code != code ||
		!strings.Contains(f.Message, message) {
		t.Errorf("%s: want it handed back with %s %q, got %s %+v", what, code, message, got.Event, f)
	}
}

// TestACommandThatCannotBeStarted: the job is handed back, whatever the system's error is.
func TestACommandThatCannotBeStarted(t *testing.T) {
	program := filepath.Join(t.TempDir(), "handler")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(program, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("#!/bin/sh\necho 1\n", 0o700)
	c, err := external.NewCommand([]string{program}, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := handle(t, t.Context(), c.Handle, 0); got.Event != event.Completed {
		t.Fatalf("%s %+v", got.Event, got.Failure)
	}
	for what, spoil := range map[string]func(){
		"not executable":      func() { write("#!/bin/sh\necho 1\n", 0o600) },
		"no such interpreter": func() { write("#!/no/such/interpreter\n", 0o700) },
		"not a program":       func() { write("\x00\x01\x02", 0o700) },
		"gone":                func() { _ = os.Remove(program) },
	} {
		write("", 0o700)
		spoil()
		wantHandedBack(t, what, handle(t, t.Context(), c.Handle, 0), "command_not_started", "start the command")
	}
	t.Setenv("TMPDIR", "/no/such/dir")
	write("#!/bin/sh\necho 1\n", 0o700)
	wantHandedBack(t, "no room for its directory", handle(t, t.Context(), c.Handle, 0), "command_not_started", "directory")
}

// TestAnEndpointThatHangsUp: the endpoint may have done something, so the attempt counts.
func TestAnEndpointThatHangsUp(t *testing.T) {
	h := endpoint(t, time.Minute, nil, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = conn.(*net.TCPConn).SetLinger(0)
			_ = conn.Close()
		}
	})
	wantFailure(t, "it hangs up", handle(t, t.Context(), h, 0), "http_unreachable", true, "could not be reached")
}
