package command

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// Defaults returns a configuration with the defaults of its struct tags: the one of a command that is given
// no flags. It reads neither the environment nor a file. It panics when a tag's default does not fit its
// field, which every test that makes a configuration finds.
func Defaults[T any]() T {
	var cfg T
	if err := applyDefaults(&cfg); err != nil {
		panic(fmt.Sprintf("the tags of %T: %v", cfg, err))
	}
	return cfg
}

// applyDefaults is kong.ApplyDefaults without the validation, for a configuration may need more than its
// defaults to be valid.
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
