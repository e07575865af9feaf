package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"os/exec"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/loadtest/bench"
)

type stormCmd struct {
	bench.StormConfig `embed:""`
	JSON              bool `name:"json" help:"Print the report as JSON."`
}

// Run implements the command.
func (c *stormCmd) Run() error {
	ctx, cancel := service.Signalled()
	defer cancel()
	report, err := bench.Storm(ctx, c.StormConfig, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		func(ctx context.Context) (*exec.Cmd, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			return exec.CommandContext(ctx, self, "bench", "storm-clients"), nil
		})
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(os.Stdout).Encode(report)
	} else {
		report.Print(os.Stdout)
	}
	if err == nil && !report.Met() {
		err = errors.New("the goal was missed")
	}
	return err
}

// stormClientsCmd is the process of the clients: it reads its task and writes its report.
type stormClientsCmd struct{}

// Run implements the command.
func (stormClientsCmd) Run() error {
	ctx, cancel := service.Signalled()
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
