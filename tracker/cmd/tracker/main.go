// Command tracker runs one tracker instance. It only translates flags into a Config.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/tracker"
)

func main() {
	var cli struct {
		service.ConfigFile
		service.Logging `embed:""`
		tracker.Config  `embed:""`
		OpsListen       string `help:"Address of /metrics, /healthz, /readyz and /debug/pprof." default:"127.0.0.1:8091"`
	}
	kong.Parse(&cli, service.Options("tracker", "Ackwire's tracker: folds the log of every job and answers gateways.")...)
	env := service.OS(cli.Logger(os.Stderr))
	t, err := tracker.New(cli.Config, env)
	if err != nil {
		os.Exit(service.Fail("tracker", err))
	}
	os.Exit(service.Main("tracker", env, cli.OpsListen, map[string]service.Ready{"tracker": t.Ready}, t.Run))
}
