// Command loadtest measures Ackwire and checks what it promises. It only translates flags into a
// Config.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/command"
)

type commands struct {
	Run       runCmd       `cmd:"" help:"Run a scenario against any deployment, and check what came back."`
	Check     checkCmd     `cmd:"" help:"Check the history of a run again."`
	Compare   compareCmd   `cmd:"" help:"Put two runs beside each other: what got worse?"`
	Scenarios scenariosCmd `cmd:"" help:"List the shipped scenarios, or print one to begin your own."`
	Bench     benchCmds    `cmd:"" help:"Measure Ackwire, in one run."`
	Idle      idleCmd      `cmd:"" help:"Measure what an idle socket costs a gateway: memory, and CPU."`
}

func main() {
	var c commands
	ctx := kong.Parse(&c, command.Options("loadtest", "Loads an Ackwire, measures it, and checks what it promises.")...)
	if err := ctx.Run(); err != nil {
		os.Exit(command.Fail("loadtest", err))
	}
}
