// Command loadtest measures Ackwire and checks what it promises. It only translates flags into a
// Config.
package main

import (
	"encoding/json"
	"log/slog"
	"os"
	"runtime/pprof"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/loadtest/bench"
)

type command struct {
	Run       runCmd       `cmd:"" help:"Run a scenario against any deployment, and check what came back."`
	Check     checkCmd     `cmd:"" help:"Check the history of a run again."`
	Compare   compareCmd   `cmd:"" help:"Put two runs beside each other: what got worse?"`
	Scenarios scenariosCmd `cmd:"" help:"List the shipped scenarios, or print one to begin your own."`
	Bench     benchCmds    `cmd:"" help:"Measure Ackwire, in one run."`
	Idle      idleCmd      `cmd:"" help:"Measure what an idle socket costs a gateway: memory, and CPU."`
}

type idleCmd struct {
	bench.IdleConfig `embed:""`
	JSON             bool `name:"json" help:"Print the report as JSON."`
}

// Run implements the command.
func (c *idleCmd) Run() error {
	ctx, cancel := service.Signalled()
	defer cancel()
	report, err := bench.Idle(ctx, c.IdleConfig, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	report.Print(os.Stdout)
	return nil
}

type observedCmd struct {
	bench.ObservedConfig `embed:""`
	JSON                 bool `name:"json" help:"Print the report as JSON."`
}

// Run implements the command.
func (c *observedCmd) Run() error {
	ctx, cancel := service.Signalled()
	defer cancel()
	report, err := bench.Observed(ctx, c.ObservedConfig, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	report.Print(os.Stdout)
	return nil
}

type benchCmds struct {
	Floor        benchCmd        `cmd:"" default:"withargs" help:"Ours beside the floor that Kafka sets, as ratios."`
	Storm        stormCmd        `cmd:"" help:"Sockets that all come back at once."`
	Observed     observedCmd     `cmd:"" help:"What logs, sampled traces and a scraper cost."`
	StormClients stormClientsCmd `cmd:"" hidden:""`
}

type benchCmd struct {
	bench.Config `embed:""`
	JSON         bool   `name:"json" help:"Print the report as JSON."`
	CPUProfile   string `help:"Write a CPU profile of the whole run." placeholder:"FILE"`
}

// Run implements the command.
func (c *benchCmd) Run() error {
	ctx, cancel := service.Signalled()
	defer cancel()
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
	report, err := bench.Run(ctx, c.Config, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(report)
	}
	report.Print(os.Stdout)
	return nil
}

func main() {
	var c command
	ctx := kong.Parse(&c, service.Options("loadtest", "Loads an Ackwire, measures it, and checks what it promises.")...)
	if err := ctx.Run(); err != nil {
		os.Exit(service.Fail("loadtest", err))
	}
}
