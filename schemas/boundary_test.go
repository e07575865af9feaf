package schemas_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// needed lists what packages of their own may import besides, by folder: the generated stubs of the tracker's API need
// protobuf and Connect, the file of job types YAML and JSON Schema.
var needed = map[string][]string{
	"trackerpb/": {"google.golang.org/protobuf/", "connectrpc.com/connect"},
	"jobtypes/":  {"github.com/goccy/go-yaml", "github.com/santhosh-tekuri/jsonschema/v6", "golang.org/x/text/"},
}

// TestImports checks that the contracts import only the standard library and each other, so that any program can import
// them; the packages in needed import more.
func TestImports(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		allowed := []string{"github.com/ackwire/ackwire/schemas/"}
		for folder, needs := range needed {
			if strings.HasPrefix(filepath.ToSlash(file), folder) {
				allowed = append(allowed, needs...)
			}
		}
		for _, spec := range f.Imports {
			name := strings.Trim(spec.Path.Value, `"`)
			first, _, _ := strings.Cut(name, "/")
			own := slices.ContainsFunc(allowed, func(p string) bool { return strings.HasPrefix(name, p) })
			if strings.Contains(first, ".") && !own {
				t.Errorf("%s imports %s", file, name)
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
