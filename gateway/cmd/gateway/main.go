// Command gateway runs one gateway instance. It only translates flags into a Config.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/service"
)

func main() {
	var cli struct {
		service.ConfigFile
		service.Logging `embed:""`
		gateway.Config  `embed:""`
		OpsListen       string             `help:"Address of /metrics, /healthz, /readyz and /debug/pprof." default:"127.0.0.1:8081"`
		Health          service.HealthFlag `help:"Ask the process that runs beside, by ops-listen, whether it takes work: exit code 0 or 1." env:"-"`
	}
	kong.Parse(&cli, service.Options("gateway", "Ackwire's gateway: sockets and HTTP for clients.")...)
	env := service.OS(cli.Logger(os.Stderr))
	g, err := gateway.New(cli.Config, env)
	if err != nil {
		os.Exit(service.Fail("gateway", err))
	}
	os.Exit(service.Main("gateway", env, cli.OpsListen, map[string]service.Ready{"gateway": g.Ready}, g.Run))
}
