package processor

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A processor shares contracts and runtime with the other services, and nothing else.
func TestImports(t *testing.T) {
	const module = "github.com/ackwire/ackwire/"
	err := filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			part, ours := strings.CutPrefix(name, module)
			if !ours {
				continue
			}
			switch part, _, _ = strings.Cut(part, "/"); part {
			case "schemas", "internal", "processor":
			default:
				t.Errorf("%s imports %s", path, name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
