package api

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Golden is a test of packages that other programs import: it reports their problems, and holds what they export
// against testdata/api/NAME.txt, which it writes when update is set. NAME is the package's. Packages are named as the
// go command names them; without any they are all of the module whose folder the test runs in.
func Golden(t *testing.T, update bool, names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"./..."}
	}
	packages, err := Load(".", names...)
	if err != nil {
		t.Fatal(err)
	}
	packages = slices.DeleteFunc(packages, func(p *Package) bool { return !p.imported() })
	if len(packages) == 0 {
		t.Fatal("the module has no packages that other programs import")
	}
	for _, p := range packages {
		for _, problem := range p.Problems() {
			t.Error(problem)
		}
		file := filepath.Join("testdata", "api", p.types.Name()+".txt")
		got := strings.Join(p.Lines(), "\n") + "\n"
		if update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("%v (go test -run %s . -update writes it)", err, t.Name())
		}
		for _, change := range changes(string(want), got) {
			t.Errorf("%s: %s", p.Path, change)
		}
	}
	if t.Failed() {
		t.Logf("if the exported names are meant to change, write them down: go test -run %s . -update", t.Name())
	}
}

// changes are the lines that are gone, with a minus, and those that are new, with a plus.
func changes(before, after string) (all []string) {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range old {
		if !slices.Contains(now, line) {
			all = append(all, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			all = append(all, "+ "+line)
		}
	}
	if len(all) == 0 && before != after {
		all = []string{"the order of the lines"}
	}
	return all
}

// Modules is a test of what a program has to fetch and compile that imports the package of the folder
// that it runs in: it holds the modules' names against testdata/modules.txt, which it writes when
// update is set.
func Modules(t *testing.T, update bool) {
	t.Helper()
	// The race detector needs cgo, without which a command may be listed, and no module.
	flags := slices.DeleteFunc(buildFlags(), func(flag string) bool { return flag == "-race" })
	args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, flags...)
	out, err := exec.Command("go", append(args, ".")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	names := strings.Fields(string(out))
	slices.Sort(names)
	got := strings.Join(slices.Compact(names), "\n") + "\n"
	file := filepath.Join("testdata", "modules.txt")
	if update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range changes(string(want), got) {
		t.Errorf("modules that users of this package need: %s", change)
	}
}
