// Package api reads what a package exports: it writes that down, one line per name, so that a test
// shows each change, and reports what no program outside this project could use or understand: types
// of internal packages, tags of our command line, names without a comment. It is a module of its own
// that requires nothing, as the modules that users import have tests with it.
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

// Package is one package, read with its types.
type Package struct {
	Path string

	set   *token.FileSet
	files []*ast.File
	types *types.Package
}

// listed is what the go command says of a package.
type listed struct {
	ImportPath, Dir, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// Load reads packages, which are named as the go command names them in the folder dir: ".",
// "./external". Those that are imported are read from the build cache, where they are compiled first
// if need be.
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

// imported reports whether programs outside this project write code with the package: it exports
// something, is no command, no internal one, and not generated, for which its source speaks.
func (p *Package) imported() bool {
	written := func(f *ast.File) bool { return !ast.IsGenerated(f) }
	return p.types.Name() != "main" && !internal(p.Path) && len(p.exported()) > 0 && slices.ContainsFunc(p.files, written)
}

// buildFlags are those that the running test was built with: with them, what it imports is in the
// build cache.
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

// read parses a package and finds its types.
func read(l listed, exports map[string]string) (*Package, error) {
	p := &Package{Path: l.ImportPath, set: token.NewFileSet()}
	// So the go command knows that a test's result is of this folder's files, and of which there are.
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

// internal reports whether a package is one that only this project may import.
func internal(path string) bool {
	return strings.HasPrefix(path, "github.com/ackwire/ackwire/") && strings.Contains(path+"/", "/internal/")
}
