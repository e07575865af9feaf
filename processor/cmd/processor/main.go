// Command processor takes jobs from Kafka and runs them: with HTTP endpoints or commands in
// any language, or with the demo handlers. Handlers in Go are programs of their own, built
// on the package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	_ "github.com/ackwire/ackwire/blobs/cloud"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/processor/external"
	"github.com/ackwire/ackwire/processor/webhook"
	"github.com/ackwire/ackwire/schemas/topic"
)

type settings struct {
	command.ConfigFile
	command.Logging
	flags.Worker
	OpsListen string             `help:"Address of /metrics, /healthz, /readyz, /startupz and /debug/pprof." default:"127.0.0.1:8101" aliases:"ops" env:"ACKWIRE_OPS_LISTEN,ACKWIRE_OPS"`
	Health    command.HealthFlag `help:"Ask the process that runs beside, by ops-listen, whether it takes work: exit code 0 or 1." env:"-"`
	Demo      bool               `help:"Run the demo job types."`
	Traces    export.Config      `embed:""`

	DeliverWebhooks bool           `name:"webhooks" help:"Deliver webhooks: take jobs from the lane webhooks, too."`
	Webhooks        flags.Webhooks `embed:""`

	Type           map[string]string `help:"Handler of a job type: an http(s) URL, or a command with its arguments, which no shell runs. May be repeated." placeholder:"TYPE=URL|COMMAND" mapsep:"none"`
	HTTPTimeout    time.Duration     `name:"http-timeout" help:"Bound of a run by an endpoint, unless the job's own timeout is shorter." default:"10m"`
	CallbackListen string            `help:"Address where endpoints that answered 202 call back." default:"127.0.0.1:0"`
	CallbackURL    string            `help:"How endpoints reach it; by default the listener's address." placeholder:"URL"`
	Env            []string          `help:"Names of environment variables that commands are given." placeholder:"NAME"`
	Dir            string            `help:"Directory that commands run in; by default a new one for each job." placeholder:"DIR"`
}

func main() {
	command.AsInit() // commands leave processes behind
	ctx, cancel := command.Signalled()
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		os.Exit(command.Fail("processor", err))
	}
}

// parse reads flags, environment and configuration file. Help and version go to stdout; a
// health check ends the process itself when the answer is no.
func parse(args []string, stdout, stderr io.Writer) (cmd settings, told bool, err error) {
	options := append(command.Options("processor", "Takes jobs from Kafka and runs them."),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) {
			if code != 0 {
				os.Exit(code)
			}
			told = true
		}))
	parser, err := kong.New(&cmd, options...)
	if err != nil {
		return cmd, false, err
	}
	_, err = parser.Parse(args)
	switch {
	case told:
		return cmd, true, nil
	case err != nil:
		return cmd, false, err
	case !cmd.Demo && len(cmd.Type) == 0 && !cmd.DeliverWebhooks:
		return cmd, false, errors.New("no handlers: name some with --type TYPE=URL or --type 'TYPE=COMMAND …', take the demo's with --demo, or deliver webhooks with --webhooks")
	}
	return cmd, false, nil
}

// register gives each job type its handler. What it returns must run beside the processor.
func (c *settings) register(ctx context.Context, p *processor.Processor, env service.Env) (*external.Callbacks, error) {
	if c.Demo {
		demo.Register(p)
	}
	if c.DeliverWebhooks {
		hooks, err := c.Webhooks.Config()
		if err != nil {
			return nil, err
		}
		if err := webhook.Register(p, hooks); err != nil {
			return nil, err
		}
	}
	isURL := func(s string) bool { return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") }
	var callbacks *external.Callbacks
	types := make([]string, 0, len(c.Type))
	for name, handler := range c.Type {
		types = append(types, name)
		if isURL(handler) && callbacks == nil {
			l, err := env.Listen(ctx, "tcp", c.CallbackListen)
			if err != nil {
				return nil, fmt.Errorf("callback listener: %w", err)
			}
			if callbacks, err = external.NewCallbacks(l, c.CallbackURL); err != nil {
				return nil, errors.Join(err, l.Close())
			}
		}
	}
	slices.Sort(types)
	for _, name := range types {
		if c.Demo && slices.Contains(demo.Types, name) {
			return nil, fmt.Errorf("--type %s: the demo has a handler for it", name)
		}
		if handler := c.Type[name]; isURL(handler) {
			e, err := external.NewEndpoint(handler, c.HTTPTimeout, callbacks)
			if err != nil {
				return nil, fmt.Errorf("--type %s: %w", name, err)
			}
			processor.HandleRaw(p, name, e.Handle)
			env.Log.Info("handler", "type", name, "endpoint", service.Redact(handler))
			continue
		}
		argv, err := external.Words(c.Type[name])
		if err != nil {
			return nil, fmt.Errorf("--type %s: %w", name, err)
		}
		program, err := external.NewCommand(argv, c.Env, c.Dir)
		if err != nil {
			return nil, fmt.Errorf("--type %s: %w", name, err)
		}
		processor.HandleRaw(p, name, program.Handle)
		env.Log.Info("handler", "type", name, "command", argv[0])
	}
	return callbacks, nil
}

// run is the whole process, but for signals and the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cmd, told, err := parse(args, stdout, stderr)
	if err != nil || told {
		return err
	}
	env := service.OS(cmd.Logger(stderr))
	flush, err := cmd.Traces.Start("processor", &env)
	if err != nil {
		return err
	}
	defer flush()
	if cmd.DeliverWebhooks && !slices.Contains(cmd.Lanes, topic.WebhookLane) {
		cmd.Lanes = append(cmd.Lanes, topic.WebhookLane)
	}
	store, closeStore, err := flags.WithBlobs(ctx, cmd.Blobs)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	p, err := processor.New(cmd.Worker.Config(), append(flags.Options(env), store)...)
	if err != nil {
		return err
	}
	ops, err := service.NewOps(ctx, env, cmd.OpsListen, map[string]service.Ready{"processor": p.Ready})
	if err != nil {
		return err
	}
	env.Log.Info("operations listener", "address", ops.Addr())
	callbacks, err := cmd.register(ctx, p, env)
	if err != nil {
		return errors.Join(err, ops.Close())
	}

	// The operations listener and the callbacks outlive the processor, so that a stop can be
	// watched and runs that go on during it can still end.
	besideCtx, stopBeside := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBeside()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var done []chan error
	beside := func(what string, run func(context.Context) error) {
		ended := make(chan error, 1)
		done = append(done, ended)
		go func() {
			err := run(besideCtx)
			stop()
			if err != nil {
				err = fmt.Errorf("%s: %w", what, err)
			}
			ended <- err
		}()
	}
	beside("operations listener", ops.Run)
	if callbacks != nil {
		beside("callback listener", callbacks.Run)
	}
	err = p.Run(ctx)
	stopBeside()
	for _, ended := range done {
		err = errors.Join(err, <-ended)
	}
	return err
}
