// Command processor takes jobs from Kafka and runs them. In this release the handlers it has
// are the demo job types; other handlers are programs of their own, built on the package.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/demo"
)

type command struct {
	service.ConfigFile
	service.Logging
	processor.Config
	Ops  string `help:"Address of the operations listener: metrics, health, profiles." default:"127.0.0.1:8101"`
	Demo bool   `help:"Run the demo job types."`
}

func main() {
	ctx, cancel := service.Signalled()
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		os.Exit(service.Fail("processor", err))
	}
}

// parse reads flags, environment and configuration file. Help goes to stdout.
func parse(args []string, stdout io.Writer) (cmd command, help bool, err error) {
	options := append(service.Options("processor", "Takes jobs from Kafka and runs them."),
		kong.Writers(stdout, stdout), kong.Exit(func(int) { help = true }))
	parser, err := kong.New(&cmd, options...)
	if err != nil {
		return cmd, false, err
	}
	_, err = parser.Parse(args)
	switch {
	case help:
		return cmd, true, nil
	case err != nil:
		return cmd, false, err
	case !cmd.Demo:
		return cmd, false, errors.New("no handlers: this binary runs the demo job types only, turned on by --demo")
	}
	return cmd, false, nil
}

// run is the whole process, but for signals and the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	cmd, help, err := parse(args, stdout)
	if err != nil || help {
		return err
	}
	env := service.OS(cmd.Logger(stderr))
	p, err := processor.New(cmd.Config, env)
	if err != nil {
		return err
	}
	demo.Register(p)
	ops, err := service.NewOps(ctx, env, cmd.Ops, map[string]service.Ready{"processor": p.Ready})
	if err != nil {
		return err
	}
	env.Log.Info("operations listener", "address", ops.Addr())

	// The operations listener outlives the processor, so that a stop can be watched.
	opsCtx, stopOps := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOps()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	opsDone := make(chan error, 1)
	go func() {
		err := ops.Run(opsCtx)
		stop()
		opsDone <- err
	}()
	err = p.Run(ctx)
	stopOps()
	if opsErr := <-opsDone; opsErr != nil {
		err = errors.Join(err, fmt.Errorf("operations listener: %w", opsErr))
	}
	return err
}
