package ackwire

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestImports checks that the client imports the contracts (schemas) and none of the services.
func TestImports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && foreign(path):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		seen++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			part, ours := strings.CutPrefix(name, "github.com/ackwire/ackwire/")
			testing := part == "internal/api" && strings.HasSuffix(path, "_test.go")
			if ours && part != "ackwiretest" && !testing && !strings.HasPrefix(part, "schemas/") {
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// foreign reports whether a folder belongs to another module: the project's other modules are folders in this one.
func foreign(dir string) bool {
	if strings.HasPrefix(filepath.Base(dir), ".") || filepath.Base(dir) == "testdata" {
		return true
	}
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
