package main

import (
	"encoding/json"
	"errors"
	"os"

	"github.com/ackwire/ackwire/loadtest/report"
)

type compareCmd struct {
	A         string  `arg:"" help:"report.json of the run before." type:"existingfile"`
	B         string  `arg:"" help:"report.json of the run after." type:"existingfile"`
	Threshold float64 `help:"Ratio above which a figure counts as worse. Exit code 1 if one is." default:"1.2"`
	JSON      bool    `name:"json" help:"Print the comparison as JSON."`
}

// Run implements the command.
func (c *compareCmd) Run() error {
	if !(c.Threshold >= 1) {
		return errors.New("the threshold is a ratio of at least 1")
	}
	a, err := report.ReadResult(c.A)
	if err != nil {
		return err
	}
	b, err := report.ReadResult(c.B)
	if err != nil {
		return err
	}
	cmp := report.Compare(a, b, c.Threshold)
	cmp.A, cmp.B = c.A, c.B
	if c.JSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		err = e.Encode(cmp)
	} else {
		err = cmp.Print(os.Stdout)
	}
	if err == nil && cmp.Worse {
		err = errors.New("the second run is worse")
	}
	return err
}
