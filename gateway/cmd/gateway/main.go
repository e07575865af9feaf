// Command gateway runs one gateway instance. It only translates flags into a Config.
package main

import (
	"os"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/gateway"
	_ "github.com/ackwire/ackwire/internal/blobs/cloud"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing/export"
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
		service.ConfigFile
		service.Logging `embed:""`
		gateway.Config  `embed:""`
		OpsListen       string             `help:"Address of /metrics, /healthz, /readyz, /startupz and /debug/pprof." default:"127.0.0.1:8081"`
		Health          service.HealthFlag `help:"Ask the process that runs beside, by ops-listen, whether it takes work: exit code 0 or 1." env:"-"`
		Traces          export.Config      `embed:""`
	}
	kong.Parse(&cli, service.Options("gateway", "Ackwire's gateway: sockets and HTTP for clients.")...)
	env := service.OS(cli.Logger(os.Stderr))
	flush, err := cli.Traces.Start("gateway", &env)
	if err != nil {
		os.Exit(service.Fail("gateway", err))
	}
	g, err := gateway.New(cli.Config, env)
	if err != nil {
		os.Exit(service.Fail("gateway", err))
	}
	code := service.Main("gateway", env, cli.OpsListen, map[string]service.Ready{"gateway": g.Ready}, g.Run)
	flush()
	os.Exit(code)
}
