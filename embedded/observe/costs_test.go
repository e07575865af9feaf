package observe

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// cost is a row of docs/security.md's table of who can cause what cost.
type cost struct {
	door, resource                   string
	bounds, metrics, codes, measured []string
}

var (
	quoted   = regexp.MustCompile("`([^`]+)`")
	costHead = "| door | resource | bound | metric | code | test |"
)

// costs reads the table.
func costs(t *testing.T) (rows []cost) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "docs/security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), costHead+"\n")
	if !ok {
		t.Fatalf("docs/security.md has no table %q", costHead)
	}
	words := func(cell string) (all []string) {
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			all = append(all, m[1])
		}
		return all
	}
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			break
		}
		if strings.HasPrefix(line, "|---") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 6 {
			t.Errorf("%d cells, want 6: %s", len(cells), line)
			continue
		}
		rows = append(rows, cost{
			door: strings.TrimSpace(cells[0]), resource: strings.TrimSpace(cells[1]),
			bounds: words(cells[2]), metrics: words(cells[3]), codes: words(cells[4]), measured: words(cells[5]),
		})
		if len(words(cells[4])) == 0 && strings.TrimSpace(cells[4]) != "-" {
			t.Errorf("no code, and no -: %s", line)
		}
	}
	return rows
}

// declared lists what a package declares at its top level, tests included.
func declared(t *testing.T, dir string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, name := range files(t, filepath.Join(dir, "*.go")) {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					names[d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok {
						for _, n := range v.Names {
							names[n.Name] = true
						}
					}
				}
			}
		}
	}
	return names
}

// documented lists the names in the first column of the tables of a page.
func documented(t *testing.T, name string) map[string]bool {
	t.Helper()
	f, err := os.Open(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	words := map[string]bool{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if cells := strings.Split(lines.Text(), "|"); len(cells) > 2 {
			words[strings.Trim(cells[1], " `")] = true
		}
	}
	return words
}

// TestEveryCostHasABound holds the table of who can cause what cost to the code: each bound is a
// flag or a constant, each metric and code is documented, and each test exists.
func TestEveryCostHasABound(t *testing.T) {
	rows := costs(t)
	if len(rows) == 0 {
		t.Fatal("the table is empty")
	}
	flags, metrics := documented(t, "docs/configure.md"), documented(t, "docs/metrics.md")
	b, err := os.ReadFile(filepath.Join(root, "schemas/code/codes.json"))
	if err != nil {
		t.Fatal(err)
	}
	codes := string(b)
	packages := map[string]map[string]bool{}
	in := func(name string) bool {
		i := strings.LastIndex(name, ".")
		if i < 0 {
			return false
		}
		dir := name[:i]
		if _, err := fs.Stat(os.DirFS(root), dir); err != nil {
			return false
		}
		if packages[dir] == nil {
			packages[dir] = declared(t, dir)
		}
		return packages[dir][name[i+1:]]
	}
	var seen []string
	for _, row := range rows {
		what := row.door + ", " + row.resource
		if slices.Contains(seen, what) {
			t.Errorf("%s: it is there twice", what)
		}
		seen = append(seen, what)
		if len(row.bounds) == 0 || len(row.metrics) == 0 || len(row.measured) == 0 {
			t.Errorf("%s: a bound, a metric and a test are needed", what)
		}
		for _, bound := range row.bounds {
			if flag, ok := strings.CutPrefix(bound, "--"); ok && !flags[flag] || !ok && !in(bound) {
				t.Errorf("%s: there is no bound %s", what, bound)
			}
		}
		for _, m := range row.metrics {
			name, _, _ := strings.Cut(m, "{")
			if !metrics[name] {
				t.Errorf("%s: there is no metric %s", what, name)
			}
		}
		for _, c := range row.codes {
			if !strings.Contains(codes, `"`+c+`"`) {
				t.Errorf("%s: there is no code %s", what, c)
			}
		}
		for _, test := range row.measured {
			if !strings.Contains(test, ".Test") || !in(test) {
				t.Errorf("%s: there is no test %s", what, test)
			}
		}
	}
}
