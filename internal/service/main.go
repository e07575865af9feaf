package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
)

// Logging is how a process logs.
type Logging struct {
	LogLevel  slog.Level `help:"Lowest level that is logged: debug, info, warn or error." default:"info"`
	LogFormat string     `help:"Log as text or as json." enum:"text,json" default:"text"`
}

// Logger makes the logger.
func (l Logging) Logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: l.LogLevel}
	if l.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// Options returns the parser options that every command of ours shares: each flag is also
// ACKWIRE_<FLAG> in the environment and a key of the YAML file that --config names.
// Flags win over the environment, which wins over the file. Unknown keys are refused.
func Options(name, description string) []kong.Option {
	return []kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.DefaultEnvars("ACKWIRE"),
		kong.Configuration(loadYAML),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	}
}

// ConfigFile is embedded where a command takes a configuration file.
type ConfigFile struct {
	Config kong.ConfigFlag `help:"YAML file with any of these settings; a key is a flag's name without dashes before it." placeholder:"FILE" type:"existingfile"`
}

// fileResolver gives flags the values of a YAML file.
type fileResolver map[string]any

func loadYAML(r io.Reader) (kong.Resolver, error) {
	values := fileResolver{}
	err := yaml.NewDecoder(r, yaml.Strict()).Decode(&values)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return values, nil
}

// Validate refuses keys that no flag has.
func (f fileResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known[flag.Name] = true
		}
		return next(nil)
	})
	if err != nil {
		return err
	}
	var unknown []string
	for key := range f {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return fmt.Errorf("configuration file: unknown keys: %s", strings.Join(unknown, ", "))
	}
	return nil
}

// Resolve implements kong.Resolver.
func (f fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	value, ok := f[flag.Name]
	if !ok {
		return nil, nil
	}
	if list, ok := value.([]any); ok {
		words := make([]string, len(list))
		for i, w := range list {
			words[i] = fmt.Sprint(w)
		}
		return strings.Join(words, ","), nil
	}
	return value, nil
}

// Signalled returns a context that ends at SIGINT or SIGTERM. A second signal kills the
// process the usual way.
func Signalled() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, cancel)
	return ctx, cancel
}

// Fail prints one line and returns the exit code of a process that could not do its work.
func Fail(name string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	return 1
}

// Main runs one service beside its operations listener until a signal or its failure, and
// returns the process's exit code.
func Main(name string, env Env, opsListen string, ready map[string]Ready, run func(context.Context) error) int {
	ctx, cancel := Signalled()
	defer cancel()
	ops, err := NewOps(ctx, env, opsListen, ready)
	if err != nil {
		return Fail(name, err)
	}
	// The operations listener outlives the service, so that its drain can be watched.
	opsCtx, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	served := make(chan error, 1)
	go func() { served <- ops.Run(opsCtx) }()
	err = run(ctx)
	stopOps()
	if err = errors.Join(err, <-served); err != nil {
		return Fail(name, err)
	}
	return 0
}
