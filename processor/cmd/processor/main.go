// Command processor takes jobs from Kafka and runs them with HTTP endpoints, with commands in
// any language, or with the demo handlers. A handler in Go is a program of its own that imports
// package processor.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/alecthomas/kong"

	_ "github.com/ackwire/ackwire/blobs/cloud"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/service"
	_ "github.com/ackwire/ackwire/mskiam"
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
	OpsListen string             `help:"Address of /metrics, /healthz, /readyz and /startupz, and of /debug/pprof with debug-endpoints." default:"127.0.0.1:8101" aliases:"ops" env:"ACKWIRE_OPS_LISTEN,ACKWIRE_OPS"`
	Ops       service.OpsConfig  `embed:""`
	Health    command.HealthFlag `help:"Ask whether the process at ops-listen is ready, and exit with 0 if it is, else with 1." env:"-"`
	Demo      bool               `help:"Run the demo job types."`
	Traces    export.Config      `embed:""`

	DeliverWebhooks bool           `name:"webhooks" help:"Deliver webhooks: also take jobs from the lane webhooks."`
	Webhooks        flags.Webhooks `embed:""`

	flags.Handlers
}

func main() {
	command.AsInit() // reaps the processes that commands leave behind
	ctx, cancel := command.Signalled()
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		os.Exit(command.Fail("processor", err))
	}
}

// parse reads flags, environment and configuration file. told reports that help, the version or the result of a health
// check was printed and nothing is left to do. A health check whose answer is no exits the process.
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
		return cmd, false, errors.New(
			"no handlers: add some with --type TYPE=URL or --type 'TYPE=COMMAND …', run the demo's with --demo, or deliver " +
				"webhooks with --webhooks")
	}
	return cmd, false, nil
}

// register registers the handlers of all configured job types. It returns the callback listener, which must run beside
// the processor; nil if none is needed.
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
	var taken []string
	if c.Demo {
		taken = demo.Types
	}
	return c.Handlers.Register(ctx, p, env, taken...)
}

// run is the whole process except for signals and the exit code.
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
	byType, err := flags.ByType(cmd.JobTypes)
	if err != nil {
		return err
	}
	p, err := processor.New(cmd.Worker.Config(), append(append(flags.Options(env), store), byType...)...)
	if err != nil {
		return err
	}
	ops, err := service.NewOps(ctx, env, cmd.OpsListen, cmd.Ops, map[string]service.Ready{"processor": p.Ready})
	if err != nil {
		return err
	}
	env.Log.Info("operations listener", "address", ops.Addr())
	callbacks, err := cmd.register(ctx, p, env)
	if err != nil {
		return errors.Join(err, ops.Close())
	}

	// The operations listener and the callbacks stop after the processor, so that its stop can be
	// observed, and runs that still go on can receive their callbacks.
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
