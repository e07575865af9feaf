// Command loadtest measures Ackwire and checks what it promises. It only translates flags into a
// Config.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/service"
)

type command struct {
	Run       runCmd       `cmd:"" help:"Run a scenario against any deployment, and check what came back."`
	Check     checkCmd     `cmd:"" help:"Check the history of a run again."`
	Compare   compareCmd   `cmd:"" help:"Put two runs beside each other: what got worse?"`
	Scenarios scenariosCmd `cmd:"" help:"List the shipped scenarios, or print one to begin your own."`
	Bench     benchCmds    `cmd:"" help:"Measure Ackwire, in one run."`
	Idle      idleCmd      `cmd:"" help:"Measure what an idle socket costs a gateway: memory, and CPU."`
}

func main() {
	var c command
	ctx := kong.Parse(&c, service.Options("loadtest", "Loads an Ackwire, measures it, and checks what it promises.")...)
	if err := ctx.Run(); err != nil {
		os.Exit(service.Fail("loadtest", err))
	}
}
