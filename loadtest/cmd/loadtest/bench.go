package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime/pprof"

	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/loadtest/bench"
)

type benchCmds struct {
	Floor    benchCmd    `cmd:"" default:"withargs" help:"Compare Ackwire with plain Kafka clients, as ratios."`
	Edge     edgeCmd     `cmd:"" help:"Compare a gateway with bare sockets: deliveries, handshakes, a client that stalls."`
	Storm    stormCmd    `cmd:"" help:"Let all sockets reconnect at once."`
	Observed observedCmd `cmd:"" help:"Measure the cost of logs, sampled traces and scrapes."`
	Versions versionsCmd `cmd:"" help:"Compare two versions of Ackwire: acks, questions for a job, lists."`
	Streams  streamsCmd  `cmd:"" help:"Measure what jobs write while they run: from the worker to the client, beside a bare SSE server, and beside acks."`
	Capacity capacityCmd `cmd:"" help:"Find the highest rate at which acks are quick, and what a job costs each process and package."`

	StormClients stormClientsCmd `cmd:"" hidden:""`
	BareServer   bareServerCmd   `cmd:"" hidden:""`
}

// printed has the flags of all commands that print a report.
type printed struct {
	JSON bool `name:"json" help:"Print the report as JSON."`
}

// measured runs a benchmark and prints its report.
func measured[R interface{ Print(io.Writer) }](
	p printed, measure func(context.Context, *slog.Logger) (R, error),
) (R, error) {
	ctx, cancel := command.Signalled()
	defer cancel()
	report, err := measure(ctx, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	switch {
	case err != nil:
	case p.JSON:
		err = json.NewEncoder(os.Stdout).Encode(report)
	default:
		report.Print(os.Stdout)
	}
	return report, err
}

// self returns a command that runs another command of this binary.
func self(args ...string) func(context.Context) (*exec.Cmd, error) {
	return func(ctx context.Context) (*exec.Cmd, error) {
		binary, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return exec.CommandContext(ctx, binary, args...), nil
	}
}

type idleCmd struct {
	bench.IdleConfig `embed:""`
	printed          `embed:""`
}

// Run implements the command.
func (c *idleCmd) Run() error {
	_, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.IdleReport, error) {
		return bench.Idle(ctx, c.IdleConfig, log, self("bench", "bare-server"))
	})
	return err
}

type versionsCmd struct {
	bench.VersionsConfig `embed:""`
	printed              `embed:""`
}

// Run implements the command.
func (c *versionsCmd) Run() error {
	_, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.VersionsReport, error) {
		return bench.Versions(ctx, c.VersionsConfig, log)
	})
	return err
}

type capacityCmd struct {
	bench.CapacityConfig `embed:""`
	printed              `embed:""`
}

// Run implements the command.
func (c *capacityCmd) Run() error {
	report, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.CapacityReport, error) {
		return bench.Capacity(ctx, c.CapacityConfig, log)
	})
	if err == nil && report.Rate == 0 {
		err = errors.New("no rate was held")
	}
	return err
}

type edgeCmd struct {
	bench.EdgeConfig `embed:""`
	printed          `embed:""`
}

// Run implements the command.
func (c *edgeCmd) Run() error {
	_, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.EdgeReport, error) {
		return bench.Edge(ctx, c.EdgeConfig, log, self("bench", "bare-server"))
	})
	return err
}

type streamsCmd struct {
	bench.StreamsConfig `embed:""`
	printed             `embed:""`
}

// Run implements the command.
func (c *streamsCmd) Run() error {
	_, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.StreamsReport, error) {
		return bench.Streams(ctx, c.StreamsConfig, log, self("bench", "bare-server"))
	})
	return err
}

type observedCmd struct {
	bench.ObservedConfig `embed:""`
	printed              `embed:""`
}

// Run implements the command.
func (c *observedCmd) Run() error {
	_, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.ObservedReport, error) {
		return bench.Observed(ctx, c.ObservedConfig, log)
	})
	return err
}

type benchCmd struct {
	bench.Config `embed:""`
	printed      `embed:""`
	CPUProfile   string `help:"Write a CPU profile of the whole run." placeholder:"FILE"`
}

// Run implements the command.
func (c *benchCmd) Run() error {
	if c.CPUProfile != "" {
		f, err := os.Create(c.CPUProfile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	_, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.Report, error) {
		return bench.Run(ctx, c.Config, log)
	})
	return err
}

type stormCmd struct {
	bench.StormConfig `embed:""`
	printed           `embed:""`
}

// Run implements the command.
func (c *stormCmd) Run() error {
	report, err := measured(c.printed, func(ctx context.Context, log *slog.Logger) (bench.StormReport, error) {
		return bench.Storm(ctx, c.StormConfig, log, self("bench", "storm-clients"))
	})
	if err == nil && !report.Met() {
		err = errors.New("the goal was missed")
	}
	return err
}

// stormClientsCmd is the clients' process of the storm: it reads its task and writes its report.
type stormClientsCmd struct{}

// Run implements the command.
func (stormClientsCmd) Run() error {
	ctx, cancel := command.Signalled()
	defer cancel()
	var task bench.StormTask
	if err := json.NewDecoder(os.Stdin).Decode(&task); err != nil {
		return err
	}
	report, err := bench.StormClients(ctx, task)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(report)
}

// bareServerCmd is the process with which a gateway is compared.
type bareServerCmd struct{}

// Run implements the command.
func (bareServerCmd) Run() error { return bench.BareServer(os.Stdin, os.Stdout) }
