package embedded

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// ownWords are the files that encode with encoding/json what no user wrote a byte of.
var ownWords = []string{
	"schemas/jobtypes/schema.go", // a schema of the configuration, for its compiler
	"tracker/store/partition.go", // totals
	"tracker/store/seal.go",      // totals and sums
	"tracker/store/store.go",     // what the store is of
	"tracker/view/record.go",     // checkpoints and owners
}

// TestNothingIsEscapedForHTML: what users wrote passes through plainjson wherever it is encoded, as each < takes six
// bytes in what json.Marshal makes of it.
func TestNothingIsEscapedForHTML(t *testing.T) {
	used := map[string]bool{}
	for _, module := range []string{"schemas", "gateway", "tracker", "processor", "processor/cmd", "blobs", ".",
		"embedded"} {
		root := filepath.Join("..", module)
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != root && otherModule(path) {
				return fs.SkipDir
			}
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"encoding/json"` }) {
				return nil
			}
			name := strings.TrimPrefix(filepath.ToSlash(path), "../")
			ast.Inspect(file, func(n ast.Node) bool {
				if f, ok := n.(*ast.FuncDecl); ok && writesPlainly(f) {
					return false
				}
				s, ok := n.(*ast.SelectorExpr)
				if !ok {
					return true
				}
				if p, ok := s.X.(*ast.Ident); !ok || p.Name != "json" ||
					!slices.Contains([]string{"Marshal", "MarshalIndent", "NewEncoder"}, s.Sel.Name) {
					return true
				}
				used[name] = true
				if !slices.Contains(ownWords, name) {
					t.Errorf("%s: json.%s escapes for HTML: use plainjson", set.Position(s.Pos()), s.Sel.Name)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range ownWords {
		if !used[name] {
			t.Errorf("%s encodes nothing: take it from the list", name)
		}
	}
}

// writesPlainly reports whether a function makes one encoder, tells it not to escape for HTML, and encodes in no other
// way: blobs must import no other module, and plainjson is made so.
func writesPlainly(f *ast.FuncDecl) bool {
	encoders, told, others := 0, 0, 0
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		s, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		p, _ := s.X.(*ast.Ident)
		of := p != nil && p.Name == "json"
		switch {
		case of && s.Sel.Name == "NewEncoder":
			encoders++
		case of && strings.HasPrefix(s.Sel.Name, "Marshal"):
			others++
		case s.Sel.Name == "SetEscapeHTML" && len(call.Args) == 1:
			if v, ok := call.Args[0].(*ast.Ident); ok && v.Name == "false" {
				told++
			}
		}
		return true
	})
	return encoders == 1 && told == 1 && others == 0
}

// otherModule reports whether a folder is a module of its own: the others lie below the project's first one.
func otherModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}
