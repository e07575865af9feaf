// Package api checks the exported API of a package. It lists the API, one line per name, for a golden file
// that shows each change, and reports what a program outside this project could not use or understand: types
// of internal packages, struct tags of Ackwire's commands, names without a comment. It is a module that
// requires no other, for the modules that users import have tests that use it.
package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
)

// Package is a package that was parsed and type-checked.
type Package struct {
	Path string

	set   *token.FileSet
	files []*ast.File
	types *types.Package
}

// listed is a package in the output of go list.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// Load parses and type-checks packages, which are named as for the go command in the folder dir, such as "."
// or "./external". The types of imported packages come from the build cache; go list compiles them first if
// they are not there.
func Load(dir string, names ...string) ([]*Package, error) {
	args := append([]string{"list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles,DepOnly"}, buildFlags()...)
	cmd := exec.Command("go", append(args, names...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list %v: %w: %s", names, err, stderr.Bytes())
	}
	exports := map[string]string{}
	var wanted []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		err := decoder.Decode(&l)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("list %v: %w", names, err)
		}
		exports[l.ImportPath] = l.Export
		if !l.DepOnly {
			wanted = append(wanted, l)
		}
	}
	var packages []*Package
	for _, l := range wanted {
		p, err := read(l, exports)
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
	return packages, nil
}

// imported reports whether programs outside this project may use the package: it exports something and is
// neither a command, nor internal, nor generated.
func (p *Package) imported() bool {
	written := func(f *ast.File) bool { return !ast.IsGenerated(f) }
	return p.types.Name() != "main" && !internal(p.Path) && len(p.exported()) > 0 && slices.ContainsFunc(p.files, written)
}

// buildFlags returns the flags that the running test was built with. With the same flags, the packages that
// it imports are in the build cache already.
func buildFlags() (flags []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "-race" && s.Value == "true":
			flags = append(flags, "-race")
		case s.Key == "-tags":
			flags = append(flags, "-tags="+s.Value)
		}
	}
	return flags
}

// read parses and type-checks a package.
func read(l listed, exports map[string]string) (*Package, error) {
	p := &Package{Path: l.ImportPath, set: token.NewFileSet()}
	// The go command caches a test's result until a file or folder that it has read changes. So the
	// folder is read, too, and a new file makes the test run again.
	if _, err := os.ReadDir(l.Dir); err != nil {
		return nil, err
	}
	for _, name := range l.GoFiles {
		file, err := parser.ParseFile(p.set, filepath.Join(l.Dir, name), nil, parser.ParseComments)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", l.ImportPath, err)
		}
		p.files = append(p.files, file)
	}
	config := types.Config{Importer: importer.ForCompiler(p.set, "gc", func(path string) (io.ReadCloser, error) {
		name := exports[path]
		if name == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(name)
	})}
	var err error
	if p.types, err = config.Check(l.ImportPath, p.set, p.files, nil); err != nil {
		return nil, fmt.Errorf("types of %s: %w", l.ImportPath, err)
	}
	return p, nil
}

// internal reports whether only this project may import the package.
func internal(path string) bool {
	return strings.HasPrefix(path, "github.com/ackwire/ackwire/") && strings.Contains(path+"/", "/internal/")
}
