// Command tracker runs one tracker instance, or copies the store of one. It only translates
// flags into a Config.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/alecthomas/kong"

	_ "github.com/ackwire/ackwire/blobs/cloud"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/private"
	"github.com/ackwire/ackwire/internal/service"
	_ "github.com/ackwire/ackwire/mskiam"
	"github.com/ackwire/ackwire/tracker"
)

type commands struct {
	command.ConfigFile

	Serve    serveCmd    `cmd:"" default:"withargs" help:"Run a tracker. This is the default command."`
	Snapshot snapshotCmd `cmd:"" help:"Copy a tracker's local state to a new folder, while it runs or not. A tracker may start on the copy: --data DIR."`
}

type serveCmd struct {
	command.Logging `embed:""`
	tracker.Config  `embed:""`
	OpsListen       string             `help:"Address of /metrics, /healthz, /readyz and /startupz, and of /debug/pprof with debug-endpoints." default:"127.0.0.1:8091"`
	Ops             service.OpsConfig  `embed:""`
	Health          command.HealthFlag `help:"Ask whether the process at ops-listen is ready, and exit with 0 if it is, else with 1." env:"-"`
	Traces          export.Config      `embed:""`
}

type snapshotCmd struct {
	command.Logging `embed:""`
	Data            string `help:"The tracker's data folder." default:"data/tracker"`
	Dir             string `arg:"" help:"Folder to create for the copy."`
}

func main() {
	var cli commands
	k := kong.Parse(&cli, command.Options("tracker",
		"Ackwire's tracker: folds the log of every job and answers gateways.")...)
	if k.Command() == "snapshot <dir>" {
		ctx, stop := command.Signalled()
		defer stop()
		os.Exit(snapshot(ctx, cli.Snapshot))
	}
	private.Files()
	env := service.OS(cli.Serve.Logger(os.Stderr))
	flush, err := cli.Serve.Traces.Start("tracker", &env)
	if err != nil {
		os.Exit(command.Fail("tracker", err))
	}
	t, err := tracker.New(cli.Serve.Config, env)
	if err != nil {
		os.Exit(command.Fail("tracker", err))
	}
	ready := map[string]service.Ready{"tracker": t.Ready}
	code := command.Main("tracker", env, cli.Serve.OpsListen, cli.Serve.Ops, ready, t.Run)
	flush()
	os.Exit(code)
}

func snapshot(ctx context.Context, c snapshotCmd) int {
	if err := tracker.Snapshot(ctx, c.Data, c.Dir, service.OS(c.Logger(os.Stderr))); err != nil {
		return command.Fail("tracker", err)
	}
	fmt.Println("snapshot made:", c.Dir)
	return 0
}
