package imports

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// module writes a module called name whose files import what is given, in a new folder.
func module(t *testing.T, name string, files map[string][]string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module "+Root+"/"+name+"\n\ngo 1.26.0\n")
	for file, imports := range files {
		text := "package p\n"
		for _, i := range imports {
			text += "import _ \"" + i + "\"\n"
		}
		write(t, filepath.Join(dir, filepath.FromSlash(file)), text)
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	services := Rule{Allow: []string{"schemas/...", "internal/..."}}
	through := Rule{Allow: []string{"gateway", "schemas/..."}}
	for _, c := range []struct {
		name  string
		rule  Rule
		files map[string][]string
		want  []string
	}{
		{"its own packages, the standard library and others are allowed", services,
			map[string][]string{"a.go": {"fmt", Root + "/tracker/fold", "example.com/x"}}, nil},
		{"a tree is its root and all below it", services,
			map[string][]string{"a.go": {Root + "/schemas", Root + "/schemas/job", Root + "/internal/kafka"}}, nil},
		{"services do not import each other", services,
			map[string][]string{"deep/er/a.go": {Root + "/gateway"}}, []string{"tracker/deep/er/a.go must not import gateway"}},
		{"nor do their tests", services,
			map[string][]string{"a_test.go": {Root + "/processor"}}, []string{"tracker/a_test.go must not import processor"}},
		{"a name that only begins alike is another package", services,
			map[string][]string{"a.go": {Root + "/schemasx"}, "b.go": {Root + "/trackerx"}},
			[]string{"tracker/a.go must not import schemasx", "tracker/b.go must not import trackerx"}},
		{"a root package does not open what lies below it", through,
			map[string][]string{"a.go": {Root + "/gateway", Root + "/gateway/session"}}, []string{
				"tracker/a.go must not import gateway/session"}},
		{"the project's root package is a module's as any other", services,
			map[string][]string{"a.go": {Root}}, []string{"tracker/a.go must not import ."}},
		{"and is allowed by a dot", Rule{Allow: []string{"."}},
			map[string][]string{"a.go": {Root}, "b.go": {Root + "/gateway"}}, []string{"tracker/b.go must not import gateway"}},
		{"tests may have more", Rule{Tests: []string{"internal/..."}},
			map[string][]string{"a_test.go": {Root + "/internal/imports"}, "a.go": {Root + "/internal/imports"}},
			[]string{"tracker/a.go must not import internal/imports"}},
		{"an exception is one package", Rule{Except: map[string]string{"processor/demo": "why"}},
			map[string][]string{"a.go": {Root + "/processor/demo", Root + "/processor/demo/x"}},
			[]string{"tracker/a.go must not import processor/demo/x"}},
		{"an exception without use is a problem", Rule{Except: map[string]string{"processor/demo": "why"}},
			map[string][]string{"a.go": {"fmt"}}, []string{"the exception processor/demo is not needed any more"}},
		{"what the go command ignores is ignored", services,
			map[string][]string{"testdata/a.go": {Root + "/gateway"}, "_x/a.go": {Root + "/gateway"},
				".x/a.go": {Root + "/gateway"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.rule.Check(module(t, "tracker", c.files))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// internal/tools is a module of its own below another one.
func TestModulesBelowAreNotPartOfIt(t *testing.T) {
	dir := module(t, "internal", map[string][]string{"tools/a.go": {Root + "/schemas"}})
	write(t, filepath.Join(dir, "tools", "go.mod"), "module "+Root+"/internal/tools\n")
	if got, err := (Rule{}).Check(dir); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

// A check that reads nothing must not pass.
func TestWhatCannotBeReadIsAnError(t *testing.T) {
	empty := t.TempDir()
	if _, err := (Rule{}).Check(empty); err == nil {
		t.Error("a folder without go.mod passes")
	}
	nameless := t.TempDir()
	write(t, filepath.Join(nameless, "go.mod"), "go 1.26.0\n")
	if _, err := (Rule{}).Check(nameless); err == nil || !strings.Contains(err.Error(), "names no module") {
		t.Errorf("a go.mod without a module: %v", err)
	}
	broken := module(t, "tracker", nil)
	write(t, filepath.Join(broken, "a.go"), "package\n")
	if _, err := (Rule{}).Check(broken); err == nil || !strings.Contains(err.Error(), "a.go") {
		t.Errorf("a file that is not Go: %v", err)
	}
}
