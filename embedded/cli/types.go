package cli

import (
	"errors"
	"fmt"
	"os"

	"github.com/ackwire/ackwire/embedded/cli/tstypes"
	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// TypesCmd writes the types of job types for programs in other languages. It asks no server.
type TypesCmd struct {
	TS   bool   `name:"ts" help:"Write TypeScript: the interface Jobs of the npm package ackwire."`
	Jobs string `help:"YAML file of job types, the one that --job-types of the server names; the demo types when empty." placeholder:"FILE" env:"ACKWIRE_JOB_TYPES"`
	Out  string `name:"out" short:"o" help:"File to write to, such as src/ackwire.d.ts; stdout when empty." placeholder:"FILE"`
}

// Help is what kong prints below the flags.
func (c *TypesCmd) Help() string {
	return "A type takes every value that its JSON Schema takes, and more where TypeScript cannot say what the schema " +
		"says. Without a schema it is unknown. The output is the same for the same file, so that a build can check it."
}

// Validate implements kong's check.
func (c *TypesCmd) Validate() error {
	if !c.TS {
		return errors.New("say which language: --ts")
	}
	return nil
}

// Run implements the command.
func (c *TypesCmd) Run(env *Env) error {
	types, err := jobtypes.Load(c.Jobs)
	if err != nil {
		return refused(err)
	}
	text := tstypes.Declare(types)
	if c.Out == "" {
		_, err = env.Stdout.Write(text)
	} else {
		err = os.WriteFile(c.Out, text, 0o644) // source code, for everybody who may read the folder
	}
	if err != nil {
		return refused(fmt.Errorf("write types: %w", err))
	}
	return nil
}
