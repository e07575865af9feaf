// Command loadtest puts load on Ackwire, measures it and checks its promises. It only translates flags into a Config.
package main

import (
	"os"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/command"
)

type commands struct {
	Run       runCmd       `cmd:"" help:"Run a scenario against any deployment, and check all answers."`
	Check     checkCmd     `cmd:"" help:"Check the history of a run again."`
	Compare   compareCmd   `cmd:"" help:"Compare two runs: what got worse?"`
	Scenarios scenariosCmd `cmd:"" help:"List the built-in scenarios, or print one as a start for your own."`
	Bench     benchCmds    `cmd:"" help:"Run a benchmark."`
	Idle      idleCmd      `cmd:"" help:"Measure the memory and CPU of an idle socket in a gateway."`
}

func main() {
	var c commands
	ctx := kong.Parse(&c, command.Options("loadtest", "Loads an Ackwire, measures it, and checks what it promises.")...)
	if err := ctx.Run(); err != nil {
		os.Exit(command.Fail("loadtest", err))
	}
}
