// Package command has the parts that all of Ackwire's commands share: settings from flags, environment and a
// file, logging, exit codes, and a run beside an operations listener. It is a module of its own, so that
// programs that only import Ackwire's libraries do not depend on what commands need.
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

// Logging has the settings of a process's log.
type Logging struct {
	LogLevel  slog.Level `help:"Lowest level that is logged: debug, info, warn or error." default:"info"`
	LogFormat string     `help:"Format of the log: text or json." enum:"text,json" default:"text"`
}

// Logger returns a logger that writes to w. It redacts secrets in URLs.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: l.LogLevel, ReplaceAttr: service.RedactAttr}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// Exit codes of all commands.
const (
	ExitFailed = 1 // the command could not do its work
	ExitUsage  = 2 // wrong usage or configuration: nothing was tried
)

// versionFlag is embedded in every command.
type versionFlag struct {
	Version kong.VersionFlag `help:"Print the version and the revision of the source." env:"-"`
}

// exitUsageKong is kong's own exit code for wrong usage.
const exitUsageKong = 80

// Options returns the parser options that all commands share. Each flag is also ACKWIRE_<FLAG> in the
// environment and a key of the YAML file that --config names; flags win over the environment, which wins over
// the file. A key that the command does not have is refused. After a mistake in any of them kong.Parse exits
// with ExitUsage.
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

// jobTypes is the only setting whose environment variable begins with service.JobVariables.
const jobTypes = service.JobVariables + "TYPES"

// reserved returns an error for a program that has another flag whose variable begins so: handlers get
// variables of such names about their job.
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

// Signalled returns a context that ends at SIGINT or SIGTERM. A second signal ends the process at once.
func Signalled() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}

// Fail prints err as one line to stderr, with secrets in URLs redacted, and returns the exit code: ExitUsage
// for an error of the command line's parser, else ExitFailed.
func Fail(name string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %s\n", name, strings.ReplaceAll(service.Redact(err.Error()), "\n", "; "))
	if _, usage := errors.AsType[*kong.ParseError](err); usage {
		return ExitUsage
	}
	return ExitFailed
}

// Main runs one service beside its operations listener until a signal comes or the service fails, and returns
// the process's exit code.
func Main(
	name string, env service.Env, opsListen string, opsConfig service.OpsConfig, ready map[string]service.Ready,
	run func(context.Context) error,
) int {
	ctx, cancel := Signalled()
	defer cancel()
	ops, err := service.NewOps(ctx, env, opsListen, opsConfig, ready)
	if err != nil {
		return Fail(name, err)
	}
	// The operations listener outlives the service, so that its drain can be watched.
	opsCtx, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() {
		served <- ops.Run(opsCtx)
		cancel() // without the operations listener the service stops, too
	}()
	err = run(ctx)
	stopOps()
	if err = errors.Join(err, <-served); err != nil {
		return Fail(name, err)
	}
	return 0
}
