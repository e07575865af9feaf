// Command gateway runs a gateway. It translates flags into a gateway.Config.
package main

import (
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	_ "github.com/ackwire/ackwire/blobs/cloud"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/service"
	_ "github.com/ackwire/ackwire/mskiam"
)

// gcPercent is the default of GOGC: the garbage that may accumulate, in percent of the memory in use. Most of a
// gateway's memory is in use by idle sockets, and Go's default of 100 would double it. 50 saves some kilobytes per
// socket (loadtest idle), and costs a tenth of the CPU time of a handshake and nothing measurable for a delivery
// (loadtest bench edge).
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	var cli struct {
		command.ConfigFile
		command.Logging `embed:""`
		gateway.Config  `embed:""`
		OpsListen       string             `help:"Address of /metrics, /healthz, /readyz and /startupz, and of /debug/pprof with debug-endpoints." default:"127.0.0.1:8081"`
		Ops             service.OpsConfig  `embed:""`
		Health          command.HealthFlag `help:"Ask whether the process at ops-listen is ready, and exit with 0 if it is, else with 1." env:"-"`
		Traces          export.Config      `embed:""`
	}
	kong.Parse(&cli, command.Options("gateway", "Ackwire's gateway: sockets and HTTP for clients.")...)
	env := service.OS(cli.Logger(os.Stderr))
	flush, err := cli.Traces.Start("gateway", &env)
	if err != nil {
		os.Exit(command.Fail("gateway", err))
	}
	g, err := gateway.New(cli.Config, env)
	if err != nil {
		os.Exit(command.Fail("gateway", err))
	}
	code := command.Main("gateway", env, cli.OpsListen, cli.Ops, map[string]service.Ready{"gateway": g.Ready}, g.Run)
	flush()
	os.Exit(code)
}
