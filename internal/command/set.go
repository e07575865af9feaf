package command

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Set changes fields of the configuration that cfg points to. Each setting is written NAME=VALUE: the name of a field's
// flag, and its value as on the command line. A list takes its first setting in place of its default; further ones
// are added. The error joins all problems: settings without a value, of unknown names, and of values that do not fit.
// Whether the configuration as a whole makes sense is for its own Validate.
func Set(cfg any, settings []string) error {
	app, err := kong.New(cfg, kong.NoDefaultHelp())
	if err != nil {
		return err
	}
	var problems []error
	seen := map[string]bool{}
	for _, setting := range settings {
		name, value, ok := strings.Cut(setting, "=")
		i := slices.IndexFunc(app.Model.Flags, func(f *kong.Flag) bool { return f.Name == name })
		switch {
		case i < 0:
			problems = append(problems, fmt.Errorf("unknown setting %q", name))
			continue
		case !ok:
			problems = append(problems, fmt.Errorf("setting %q has no value: write it NAME=VALUE", name))
			continue
		}
		flag := app.Model.Flags[i]
		if !seen[name] {
			flag.Target.SetZero()
		}
		seen[name] = true
		if err := decode(flag, value); err != nil {
			problems = append(problems, fmt.Errorf("setting %s: %w", name, err))
		}
	}
	return errors.Join(problems...)
}

// decode gives a flag's field a value. kong checks enumerations only in a whole command line.
func decode(flag *kong.Flag, value string) error {
	scan := kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: value})
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, flag.Target); err != nil {
		return err
	}
	if flag.Enum != "" && flag.Target.Kind() == reflect.String && !slices.Contains(flag.EnumSlice(), value) {
		return fmt.Errorf("must be one of %s, not %q", flag.Enum, value)
	}
	return nil
}
