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

// ConfigFile is embedded where a command takes a configuration file.
type ConfigFile struct {
	Config configFlag `help:"YAML file with any of these settings; a key is a flag's name without dashes before it." placeholder:"FILE" type:"existingfile"`

	Reference referenceFlag `help:"Print all settings as Markdown." hidden:"" env:"-"`
}

// configFlag names a configuration file.
type configFlag string

// BeforeResolve implements kong's hook: it takes the file's values for the command that was
// chosen, whose settings all have to be.
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
	lines  map[string]int // where each key stands
	wrong  error          // what is wrong with it; it then gives no values
}

// loadYAML reads a configuration file: one mapping, no key twice.
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

// check refuses each key that is no setting of the command that was chosen: those of other
// commands, too, which would be taken and do nothing. A key without a value says nothing either.
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

// inFile reports whether a flag is a setting. The others ask for something else than a run, such
// as help or the version: none of them has a variable, but for the file's own name.
func inFile(flag *kong.Flag) bool {
	return flag.Name != "config" && len(flag.Tag.Envs) > 0
}

// commandsByFlag tells which commands have a flag.
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

// Validate implements kong.Resolver. What is wrong with the file is said here and not by the hook that
// reads it, whose errors kong does not count as wrong usage.
func (f *fileResolver) Validate(*kong.Application) error { return f.wrong }

// Resolve implements kong.Resolver. kong would let a resolver win over the environment.
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

// listFor makes a file's list what kong takes as it is, without looking for commas in it.
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
