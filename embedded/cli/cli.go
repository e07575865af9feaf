// Package cli holds the client commands of the command-line tool: submit, watch, stream, logs,
// get, list, stats, why, result, cancel and retry, as structs for github.com/alecthomas/kong; and types, which asks no
// server.
//
// A command gets an *Env (kong.Bind) and returns an *ExitError when the process should not exit with 0; Report prints
// the error:
//
//	env, stop := cli.System()
//	defer stop()
//	err := kctx.Run(env)
//	os.Exit(cli.Report(env, err))
//
// Output: with --json, stdout has one JSON document per line and nothing else. Without it, stdout has the output for
// scripts (the result; the job ID with --no-wait; the document of get) and stderr the messages for people. Control
// characters are removed from all text of a server, so that it cannot control the terminal. The exception is a stream
// that is not printed to a terminal: its bytes are what the job has written.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/term"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/job"
)

// Exit codes.
const (
	ExitCompleted   = 0   // the job completed, or the command does not wait for its end
	ExitFailed      = 1   // the job failed or was cancelled
	ExitRefused     = 2   // refused, not reachable, outcome not known, or wrong usage
	ExitInterrupted = 130 // Ctrl-C while waiting (128 + SIGINT, as in shells); the job goes on
)

// DefaultURL is where an embedded Ackwire listens.
const DefaultURL = "http://127.0.0.1:8080"

// Env is the environment of a command: its context, standard streams and HTTP client.
type Env struct {
	// Context ends with Ctrl-C.
	Context        context.Context
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal reports that Stderr is a terminal: progress is drawn as a bar instead of lines.
	Terminal bool
	// StdoutTerminal reports that Stdout is a terminal: it is sent no control characters of a stream.
	StdoutTerminal bool
	// HTTPClient is used for every connection if it is set; for tests.
	HTTPClient *http.Client
}

// System returns the Env of this process. Its context ends at SIGINT or SIGTERM; a second signal ends the process.
// stop restores the signals' default behaviour.
func System() (env *Env, stop func()) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return &Env{
		Context: ctx,
		Stdin:   os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Terminal:       term.IsTerminal(int(os.Stderr.Fd())),
		StdoutTerminal: term.IsTerminal(int(os.Stdout.Fd())),
	}, stop
}

// ExitError is an error with the process's exit code. Err is nil when there is nothing to print.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// Unwrap returns the cause, if there is one.
func (e *ExitError) Unwrap() error { return e.Err }

// ExitCode tells kong the process's exit code.
func (e *ExitError) ExitCode() int { return e.Code }

func refused(err error) error { return &ExitError{Code: ExitRefused, Err: err} }

// Report prints err to env.Stderr, with one more line for each part of a payload that its schema refuses, and returns
// the exit code: that of an ExitError, ExitRefused for any other error, 0 for nil.
func Report(env *Env, err error) int {
	if err == nil {
		return ExitCompleted
	}
	exit, ok := errors.AsType[*ExitError](err)
	if !ok {
		exit = &ExitError{Code: ExitRefused, Err: err}
	}
	if exit.Err == nil {
		return exit.Code
	}
	fmt.Fprintf(env.Stderr, "ackwire: %s\n", clean(service.Redact(explain(exit.Err))))
	if e, ok := errors.AsType[*ackwire.Error](exit.Err); ok {
		for _, f := range e.Errors {
			pointer := f.Pointer
			if pointer == "" {
				pointer = "(the whole payload)"
			}
			fmt.Fprintf(env.Stderr, "  %s: %s\n", clean(pointer), clean(f.Detail))
		}
		if e.Retryable && e.RetryAfter > 0 {
			fmt.Fprintf(env.Stderr, "  try again in %s\n", e.RetryDelay())
		}
	}
	return exit.Code
}

// Flags are the flags of every client command.
type Flags struct {
	URL   string `name:"url" env:"ACKWIRE_URL" default:"http://127.0.0.1:8080" placeholder:"URL" help:"The gateway's URL."`
	Token string `name:"token" env:"ACKWIRE_TOKEN" placeholder:"JWT" help:"Bearer token; an embedded Ackwire on this machine needs none."`
	JSON  bool   `name:"json" help:"Print one JSON document per line on stdout and nothing else."`
}

func (f *Flags) options(env *Env, v *view) []ackwire.Option {
	var opts []ackwire.Option
	if f.Token != "" {
		opts = append(opts, ackwire.WithToken(f.Token))
	}
	if env.HTTPClient != nil {
		opts = append(opts, ackwire.WithHTTPClient(env.HTTPClient))
	}
	if v != nil {
		opts = append(opts, ackwire.WithLogger(v.logger()))
	}
	return opts
}

// unreachable adds the URL to the error of a failed connection.
func (f *Flags) unreachable(err error) error {
	if _, answered := errors.AsType[*ackwire.Error](err); answered {
		return err
	}
	if _, answered := errors.AsType[*ackwire.CloseError](err); answered {
		return err
	}
	return fmt.Errorf("cannot reach %s: %w", f.URL, err)
}

// exitOf returns ExitFailed for a job that failed or was cancelled, else nil.
func exitOf(s job.State) error {
	if s == job.Failed || s == job.Cancelled {
		return &ExitError{Code: ExitFailed}
	}
	return nil
}
