// Command gateway runs one gateway instance. It only translates flags into a Config.
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
)

// gcPercent is how much garbage is let grow beside what is in use; $GOGC says otherwise. A
// gateway's memory is what its sockets rest on, and Go's 100 % would double that: this saves a
// socket some kilobytes (loadtest idle), and costs a tenth of a handshake's CPU and nothing that
// can be measured of a delivery's (loadtest bench edge).
const gcPercent = 50

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	var cli struct {
		command.ConfigFile
		command.Logging `embed:""`
		gateway.Config  `embed:""`
		OpsListen       string             `help:"Address of /metrics, /healthz, /readyz, /startupz and /debug/pprof." default:"127.0.0.1:8081"`
		Health          command.HealthFlag `help:"Ask the process that runs beside, by ops-listen, whether it takes work: exit code 0 or 1." env:"-"`
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
	code := command.Main("gateway", env, cli.OpsListen, map[string]service.Ready{"gateway": g.Ready}, g.Run)
	flush()
	os.Exit(code)
}
