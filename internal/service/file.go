package service

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// ConfigFile is embedded where a command takes a configuration file.
type ConfigFile struct {
	Config kong.ConfigFlag `help:"YAML file with any of these settings; a key is a flag's name without dashes before it." placeholder:"FILE" type:"existingfile"`

	Reference referenceFlag `help:"Print all settings as Markdown." hidden:"" env:"-"`
}

// fileResolver gives flags the values of a YAML file.
type fileResolver struct {
	name   string // the file's, for messages
	values map[string]any
	lines  map[string]int // where each key stands
}

// loadYAML reads a configuration file: one mapping, no key twice.
func loadYAML(r io.Reader) (kong.Resolver, error) {
	f := &fileResolver{name: "configuration file", values: map[string]any{}, lines: map[string]int{}}
	if file, ok := r.(*os.File); ok {
		f.name = file.Name()
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.name, err)
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

// Validate refuses keys that no flag has.
func (f *fileResolver) Validate(app *kong.Application) error {
	known := map[string]bool{}
	err := kong.Visit(app, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			known[flag.Name] = true
		}
		return next(nil)
	})
	if err != nil {
		return err
	}
	var unknown []string
	for key := range f.values {
		if !known[key] {
			unknown = append(unknown, key)
		}
	}
	slices.SortFunc(unknown, func(a, b string) int { return f.lines[a] - f.lines[b] })
	for i, key := range unknown {
		unknown[i] = fmt.Sprintf("line %d: unknown key %q", f.lines[key], key)
	}
	if len(unknown) > 0 {
		return fmt.Errorf("%s: %s", f.name, strings.Join(unknown, "; "))
	}
	return nil
}

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
		words := make([]string, len(list))
		for i, w := range list {
			words[i] = fmt.Sprint(w)
		}
		return strings.Join(words, ","), nil
	}
	return value, nil
}
