package gateway

import (
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// The gateway shares contracts and runtime with the other services, and nothing else.
func TestImports(t *testing.T) {
	rule := imports.Rule{
		Allow: []string{"blobs/...", "mskiam", "schemas/...", "internal/..."},
		Except: map[string]string{
			"processor": "bulkjob takes the jobs of bulk actions as a worker does: it is the one worker that needs what only " +
				"a gateway has, its lists and its orders with their audit",
		},
	}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

// maxFields is how many fields the gateway may have. If it needs more, some of them belong in a part of their own.
const maxFields = 29

// TestRooms checks which packages of the gateway each of its main parts imports: connections, HTTP, sockets and the
// intake call each other only through interfaces of their own. It also bounds the fields of the root.
func TestRooms(t *testing.T) {
	for room, may := range map[string][]string{
		"conns": {"limits", "problem", "requestid"},
		"bulk":  {"problem"},
		// It runs jobs, so it may also import the processor's library.
		"bulkjob": {"auth", "problem", "requestid", "upstream"},
		"intake":  {"auth", "bulk", "bulkjob", "limits", "problem", "queue", "requestid", "upstream"},
		"api": {
			"auth", "budget", "bulk", "bulkjob", "conns", "hub", "limits", "origin", "problem", "queue", "requestid", "session",
			"sse",
			"streams", "subjects", "upstream", "wire",
		},
		"console": {"auth", "console/login"},
		"session": {"auth", "budget", "bulk", "hub", "lists", "outbox", "requestid", "streams", "subjects", "wire"},
		"streams": {"auth", "outbox"},
		"queue":   {},
	} {
		files, err := filepath.Glob(filepath.Join(room, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no files: %v", room, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range f.Imports {
				path, err := strconv.Unquote(spec.Path.Value)
				if err != nil {
					t.Fatal(err)
				}
				other, ours := strings.CutPrefix(path, imports.Root+"/gateway/")
				if ours && !slices.Contains(may, other) {
					t.Errorf("%s imports %s", name, other)
				}
			}
		}
	}
	if n := reflect.TypeFor[Gateway]().NumField(); n > maxFields {
		t.Errorf("the gateway has %d fields: look for a part", n)
	}
}
