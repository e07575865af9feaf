// Package imports checks which packages of this project a module imports: the tests named TestImports hold
// each module to the layout in DESIGN.md. It reads only the import declarations, so it is quick and needs
// neither a build nor the go command.
package imports

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Root is the import path of the project's root; all its modules are at or below it.
const Root = "github.com/ackwire/ackwire"

// Rule says what the packages of one module may import of the project's other modules.
// Paths are relative to Root, whose own package is "."; a path that ends in /... stands for a package and all
// below it.
// A module's own packages, the standard library and other projects are always allowed.
type Rule struct {
	// Allow holds for every file.
	Allow []string
	// Tests holds for files named _test.go, besides Allow.
	Tests []string
	// Except names single packages that may be imported against the layout, each with the reason.
	// Check reports an exception that is not used any more.
	Except map[string]string
}

// Check returns the imports of the module at dir that break the rule, one line each, sorted. Modules below dir
// are not part of it.
func (r Rule) Check(dir string) (problems []string, err error) {
	own, err := modulePath(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, err
	}
	used := map[string]bool{}
	err = filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			if file != dir && foreign(file) {
				return fs.SkipDir
			}
			return nil
		case !strings.HasSuffix(file, ".go"):
			return nil
		}
		imports, err := importsOf(file)
		if err != nil {
			return err
		}
		for _, name := range imports {
			part, ours := relative(name)
			if !ours || within(name, own) {
				continue
			}
			if _, ok := r.Except[part]; ok {
				used[part] = true
				continue
			}
			if !r.allows(part, strings.HasSuffix(file, "_test.go")) {
				rel, err := filepath.Rel(dir, file)
				if err != nil {
					return err
				}
				problems = append(problems, fmt.Sprintf("%s must not import %s", path.Join(path.Base(own), filepath.ToSlash(rel)),
					part))
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for part := range r.Except {
		if !used[part] {
			problems = append(problems, fmt.Sprintf("the exception %s is not needed any more", part))
		}
	}
	slices.Sort(problems)
	return problems, nil
}

func (r Rule) allows(part string, test bool) bool {
	matches := func(pattern string) bool {
		tree, all := strings.CutSuffix(pattern, "/...")
		return part == tree || all && within(part, tree)
	}
	return slices.ContainsFunc(r.Allow, matches) || test && slices.ContainsFunc(r.Tests, matches)
}

// relative returns an import path relative to Root, as rules have it; ours is false for other projects.
func relative(name string) (part string, ours bool) {
	if name == Root {
		return ".", true
	}
	return strings.CutPrefix(name, Root+"/")
}

// within reports whether the path name is tree or below it.
func within(name, tree string) bool { return name == tree || strings.HasPrefix(name, tree+"/") }

// foreign reports whether a folder is not part of the module above it, by the go command's rules.
func foreign(dir string) bool {
	name := filepath.Base(dir)
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

func modulePath(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("import rules: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "module "); ok {
			return strings.TrimSpace(name), nil
		}
	}
	return "", errors.New("import rules: " + file + " names no module")
}

func importsOf(file string) ([]string, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		return nil, fmt.Errorf("import rules: %w", err)
	}
	names := make([]string, len(parsed.Imports))
	for i, spec := range parsed.Imports {
		if names[i], err = strconv.Unquote(spec.Path.Value); err != nil {
			return nil, fmt.Errorf("import rules: %s: %w", file, err)
		}
	}
	return names, nil
}
