package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/ackwire/ackwire/loadtest/history"
	"github.com/ackwire/ackwire/loadtest/scenario"
	"github.com/ackwire/ackwire/loadtest/scenarios"
)

type checkCmd struct {
	History string `arg:"" help:"history.ndjson of a run." type:"existingfile"`
	JSON    bool   `name:"json" help:"Print the verdict as JSON."`
}

// Run implements the command.
func (c *checkCmd) Run() error {
	v, err := history.Check(c.History)
	if err != nil {
		return err
	}
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(v)
	} else {
		v.Print(os.Stdout)
	}
	if err == nil {
		err = verdict(v)
	}
	return err
}

// verdict returns the error with which the command ends when an invariant was violated, else nil.
func verdict(v *history.Verdict) error {
	if v.Found == 0 {
		return nil
	}
	return fmt.Errorf("%d violations of what Ackwire promises", v.Found)
}

type scenariosCmd struct {
	Name string `arg:"" optional:"" help:"Print the file of this scenario."`
}

// Run implements the command.
func (c *scenariosCmd) Run() error {
	if c.Name != "" {
		b, err := scenarios.Read(c.Name)
		if err != nil {
			return fmt.Errorf("no scenario %q is shipped", c.Name)
		}
		_, err = os.Stdout.Write(b)
		return err
	}
	for _, name := range scenarios.Names() {
		s, err := scenario.Load(name)
		if err != nil {
			return err
		}
		fmt.Printf("%-16s %5s  %5d clients  %s\n", name, s.Duration(), s.Sockets, s.About)
	}
	return nil
}
