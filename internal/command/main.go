// Package command is what Ackwire's commands share: settings from flags, environment and a file,
// logging, exit codes and the run beside an operations listener. It is a module of its own, so
// that a program with handlers does not need the libraries that only commands do.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/service/version"
)

// Logging is how a process logs.
type Logging struct {
	LogLevel  slog.Level `help:"Lowest level that is logged: debug, info, warn or error." default:"info"`
	LogFormat string     `help:"Log as text or as json." enum:"text,json" default:"text"`
}

// Logger makes the logger. It shows no secrets of URLs.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: l.LogLevel, ReplaceAttr: service.RedactAttr}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// Exit codes of every command of ours; the client commands give them the same meaning.
const (
	ExitFailed = 1 // it could not do its work
	ExitUsage  = 2 // wrong usage or configuration: nothing was tried
)

// versionFlag is one that every command has.
type versionFlag struct {
	Version kong.VersionFlag `help:"Print the version and the revision of the source." env:"-"`
}

// exitUsageKong is kong's own exit code for wrong usage.
const exitUsageKong = 80

// Options returns the parser options that every command of ours shares: each flag is also
// ACKWIRE_<FLAG> in the environment and a key of the YAML file that --config names.
// Flags win over the environment, which wins over the file. Keys that the command does not have are refused.
// Whatever is wrong with any of them makes kong.Parse exit with ExitUsage.
func Options(name, description string) []kong.Option {
	return []kong.Option{
		kong.Name(name),
		kong.Description(description + "\n\nWrong usage or configuration ends with exit code 2."),
		kong.Exit(func(code int) {
			if code == exitUsageKong {
				code = ExitUsage
			}
			os.Exit(code)
		}),
		kong.DefaultEnvars("ACKWIRE"),
		kong.PostBuild(reserved),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"version": name + " " + version.Get().String()},
		kong.Embed(&versionFlag{}),
	}
}

// jobTypes is the one variable of a setting that begins as those of jobs do.
const jobTypes = service.JobVariables + "TYPES"

// reserved refuses a program that has a flag of a reserved name.
func reserved(app *kong.Kong) error {
	return kong.Visit(app.Model, func(visited kong.Visitable, next kong.Next) error {
		if flag, ok := visited.(*kong.Flag); ok {
			for _, name := range flag.Tag.Envs {
				if strings.HasPrefix(name, service.JobVariables) && name != jobTypes {
					return fmt.Errorf("--%s: %s is what handlers are told of their job", flag.Name, name)
				}
			}
		}
		return next(nil)
	})
}

// Signalled returns a context that ends at SIGINT or SIGTERM. A second signal kills the
// process the usual way.
func Signalled() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}

// Fail prints one line, whatever err joins, and returns the exit code: ExitUsage for what
// the parser refused, else ExitFailed.
func Fail(name string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(service.Redact(err.Error()), "\n", "; "))
	if _, usage := errors.AsType[*kong.ParseError](err); usage {
		return ExitUsage
	}
	return ExitFailed
}

// Main runs one service beside its operations listener until a signal or its failure, and
// returns the process's exit code.
func Main(
	name string, env service.Env, opsListen string, ready map[string]service.Ready, run func(context.Context) error,
) int {
	ctx, cancel := Signalled()
	defer cancel()
	ops, err := service.NewOps(ctx, env, opsListen, ready)
	if err != nil {
		return Fail(name, err)
	}
	// The operations listener outlives the service, so that its drain can be watched.
	opsCtx, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() {
		served <- ops.Run(opsCtx)
		cancel() // a service that cannot be observed does not go on
	}()
	err = run(ctx)
	stopOps()
	if err = errors.Join(err, <-served); err != nil {
		return Fail(name, err)
	}
	return 0
}
