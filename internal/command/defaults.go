package command

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Defaults returns a configuration with the values that its tags give as defaults: those that a
// command has that is given no flags. Neither the environment nor a file is read. It panics when a
// tag's default is not a value of its field: every test that makes a configuration finds that.
func Defaults[T any]() T {
	var cfg T
	if err := applyDefaults(&cfg); err != nil {
		panic(fmt.Sprintf("the tags of %T: %v", cfg, err))
	}
	return cfg
}

// applyDefaults is kong.ApplyDefaults without the check of the whole: a configuration may need more
// than its defaults to be right.
func applyDefaults(cfg any) error {
	app, err := kong.New(cfg)
	if err != nil {
		return err
	}
	ctx, err := kong.Trace(app, nil)
	if err != nil {
		return err
	}
	return ctx.ApplyDefaults()
}
