package command

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ConfigFile is embedded in a command that takes a configuration file.
type ConfigFile struct {
	Config configFlag `help:"YAML file with any of these settings; its keys are the flags' names without the dashes." placeholder:"FILE" type:"existingfile"`

	Reference referenceFlag `help:"Print all settings as Markdown." hidden:"" env:"-"`
}

// configFlag names a configuration file.
type configFlag string

// BeforeResolve implements kong's hook: it reads the file and adds its values to the settings of the command
// that was chosen.
func (configFlag) BeforeResolve(app *kong.Kong, ctx *kong.Context, trace *kong.Path) error {
	name := string(ctx.FlagValue(trace.Flag).(configFlag))
	f, err := loadYAML(name)
	if err == nil {
		err = f.check(app.Model, ctx)
	}
	if err != nil {
		f = &fileResolver{wrong: err}
	}
	ctx.AddResolver(f)
	return nil
}

// fileResolver gives flags the values of a YAML file.
type fileResolver struct {
	name   string // the file's, for messages
	values map[string]any
	lines  map[string]int // the line of each key
	wrong  error          // why the file is refused; it has no values then
}

// loadYAML reads a configuration file, which must be one mapping without duplicate keys.
func loadYAML(name string) (*fileResolver, error) {
	f := &fileResolver{name: name, values: map[string]any{}, lines: map[string]int{}}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(text, &f.values, yaml.Strict()); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: %s", f.name, firstLine(yaml.FormatError(err, false, false)))
	}
	parsed, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %s", f.name, firstLine(yaml.FormatError(err, false, false)))
	}
	for _, doc := range parsed.Docs {
		if m, ok := doc.Body.(*ast.MappingNode); ok {
			for _, v := range m.Values {
				f.lines[v.Key.GetToken().Value] = v.Key.GetToken().Position.Line
			}
		}
	}
	return f, nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// check refuses each key that is not a setting of the command that was chosen, even if another command has
// it, for it would have no effect. It also refuses a key without a value.
func (f *fileResolver) check(app *kong.Application, ctx *kong.Context) error {
	takes := map[string]bool{}
	for _, flag := range ctx.Flags() {
		takes[flag.Name] = inFile(flag)
	}
	others, err := commandsByFlag(app)
	if err != nil {
		return err
	}
	var wrong []string
	for _, key := range slices.SortedFunc(maps.Keys(f.values), func(a, b string) int { return f.lines[a] - f.lines[b] }) {
		takesIt, known := takes[key]
		switch {
		case !known && len(others[key]) > 0:
			wrong = append(wrong, fmt.Sprintf("line %d: key %q is not a setting here, but of %s", f.lines[key], key,
				strings.Join(others[key], ", ")))
		case !known:
			wrong = append(wrong, fmt.Sprintf("line %d: unknown key %q", f.lines[key], key))
		case !takesIt:
			wrong = append(wrong, fmt.Sprintf("line %d: %q is for the command line only", f.lines[key], key))
		case f.values[key] == nil:
			wrong = append(wrong, fmt.Sprintf("line %d: key %q has no value", f.lines[key], key))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s: %s", f.name, strings.Join(wrong, "; "))
	}
	return nil
}

// inFile reports whether a flag may be set in the file. Flags such as help and version cannot: they have no
// environment variable. Nor can the flag for the file itself.
func inFile(flag *kong.Flag) bool {
	return flag.Name != "config" && len(flag.Tag.Envs) > 0
}

// commandsByFlag returns, for each flag, the commands that have it.
func commandsByFlag(app *kong.Application) (map[string][]string, error) {
	commands := map[string][]string{}
	err := kong.Visit(app, func(visited kong.Visitable, next kong.Next) error {
		if node, ok := visited.(*kong.Node); ok {
			for _, flag := range node.Flags {
				commands[flag.Name] = append(commands[flag.Name], fmt.Sprintf("%q", node.FullPath()))
			}
		}
		return next(nil)
	})
	return commands, err
}

// Validate implements kong.Resolver. It returns the error of the file, because kong counts an error of
// Validate as wrong usage, and an error of the hook that reads the file not.
func (f *fileResolver) Validate(*kong.Application) error { return f.wrong }

// Resolve implements kong.Resolver. It returns nothing for a flag that the environment sets, for kong would
// prefer the file's value.
func (f *fileResolver) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for _, name := range flag.Tag.Envs {
		if _, set := os.LookupEnv(name); set {
			return nil, nil
		}
	}
	value, ok := f.values[flag.Name]
	if !ok {
		return nil, nil
	}
	if list, ok := value.([]any); ok {
		value, err := listFor(flag, list)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", f.name, f.lines[flag.Name], err)
		}
		return value, nil
	}
	return value, nil
}

// listFor returns a list of the file in the form in which kong does not split its values at commas.
func listFor(flag *kong.Flag, list []any) ([]any, error) {
	if !flag.IsSlice() {
		return nil, errors.New("a list, where one value should be")
	}
	words := make([]any, len(list))
	for i, w := range list {
		switch w.(type) {
		case nil, []any, map[string]any:
			return nil, errors.New("a list of something else than values")
		}
		words[i] = w
		if flag.Target.Type().Elem().Kind() == reflect.String {
			words[i] = fmt.Sprint(w)
		}
	}
	return words, nil
}
