// Package docs tests that what the documents and comments of the repository refer to
// exists: files, headings, tests, functions and the constants whose values they tell.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = ".."

// tree is the repository as the references may see it.
type tree struct {
	files map[string]bool // by their path from the root, with slashes; directories too
	bases map[string]bool // the last elements of those
	funcs map[string]bool // by name, and as Name or Type.Name behind the file's path and a colon
	pages map[string]string
	sets  *token.FileSet
	goes  map[string]*ast.File
}

// repository is the tree, which all tests of this package look at.
var repository = sync.OnceValues(read)

func theTree(t *testing.T) *tree {
	t.Helper()
	r, err := repository()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// read parses every Go file and reads every page of the repository.
func read() (*tree, error) {
	r := &tree{
		files: map[string]bool{}, bases: map[string]bool{}, funcs: map[string]bool{},
		pages: map[string]string{}, sets: token.NewFileSet(), goes: map[string]*ast.File{},
	}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := d.Name(); d.IsDir() && name != root && (base == ".git" || base == "bin" || base == "node_modules") {
			return filepath.SkipDir
		}
		rel, _ := filepath.Rel(root, name)
		rel = filepath.ToSlash(rel)
		r.files[rel], r.bases[path.Base(rel)] = true, true
		if d.IsDir() {
			return nil
		}
		switch path.Ext(rel) {
		case ".md":
			b, err := os.ReadFile(name)
			r.pages[rel] = string(b)
			return err
		case ".go":
			return r.parse(name, rel)
		}
		return nil
	})
	return r, err
}

func (r *tree) parse(name, rel string) error {
	f, err := parser.ParseFile(r.sets, name, nil, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	r.goes[rel] = f
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		said := fn.Name.Name
		r.funcs[said] = true
		r.funcs[rel+":"+said] = true
		if fn.Recv != nil {
			r.funcs[rel+":"+receiver(fn.Recv.List[0].Type)+"."+said] = true
		}
	}
	return nil
}

// receiver is the name of a method's type, without its pointer and parameters.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// Forms of a reference.
var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
	tested  = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z][A-Za-z0-9_]*\b`)
	located = regexp.MustCompile(`\b((?:[\w.-]+/)*[\w-]+\.go):([A-Z_a-z][\w.]*)`)
	file    = regexp.MustCompile(`(?:^|[\s"'(` + "`" +
		`])((?:[\w.-]+/)+[\w.-]+\.(?:go|md|sh|json|ya?ml|proto|patch|py))\b`)
	document = regexp.MustCompile(`\b[A-Z][A-Z]+\.md\b`)
	dropped  = regexp.MustCompile(`[^\p{L}\p{N}\s_-]`)
)

// foreign are names of the forms above that belong to others.
var foreign = []string{
	"TestMain", "TestXxx", "FuzzXxx", "BenchmarkXxx", // what go test calls the kinds
	"TestOrder",                            // the example of package ackwiretest
	"TestServer", "TestSession", "TestJob", // types of the npm package's ackwire/testing
}

// anchors are the names under which a page's headings can be linked, as GitHub makes them.
func anchors(page string) map[string]bool {
	found := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
		name := strings.ToLower(strings.TrimSpace(m[1]))
		name = strings.ReplaceAll(dropped.ReplaceAllString(name, ""), " ", "-")
		found[name] = true
	}
	return found
}

// TestWhatPagesReferToExists looks at the links, files, tests and functions in every page.
func TestWhatPagesReferToExists(t *testing.T) {
	r := theTree(t)
	for name, page := range r.pages {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(page, ""), -1) {
			if problem := r.follow(name, m[1]); problem != "" {
				t.Errorf("%s: the link %s: %s", name, m[1], problem)
			}
		}
		for _, problem := range r.unknown(name, page) {
			t.Errorf("%s: %s", name, problem)
		}
	}
}

// TestWhatCommentsReferToExists looks at the files, tests and functions in every comment.
func TestWhatCommentsReferToExists(t *testing.T) {
	r := theTree(t)
	for name, f := range r.goes {
		for _, c := range f.Comments {
			for _, problem := range r.unknown(name, c.Text()) {
				t.Errorf("%s: %s", r.sets.Position(c.Pos()), problem)
			}
		}
	}
}

// follow says what is wrong with a link of a page.
func (r *tree) follow(from, to string) string {
	if strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
		return ""
	}
	name, anchor, _ := strings.Cut(to, "#")
	target := from
	if name != "" {
		target = path.Join(path.Dir(from), name)
	}
	if !r.files[target] {
		return "there is no " + target
	}
	if page, ok := r.pages[target]; ok && anchor != "" && !anchors(page)[anchor] {
		return "there is no such heading in " + target
	}
	return ""
}

// unknown lists the references of a text in the file from that lead nowhere.
func (r *tree) unknown(from, text string) []string {
	var problems []string
	for _, name := range tested.FindAllString(text, -1) {
		if !r.funcs[name] && !slices.Contains(foreign, name) {
			problems = append(problems, "there is no "+name)
		}
	}
	for _, m := range located.FindAllStringSubmatch(text, -1) {
		if !r.funcs[m[1]+":"+m[2]] {
			problems = append(problems, "there is no function "+m[2]+" in "+m[1])
		}
	}
	for _, m := range file.FindAllStringSubmatch(text, -1) {
		first, _, _ := strings.Cut(m[1], "/")
		if r.files[first] && !r.files[m[1]] && !r.files[path.Join(path.Dir(from), m[1])] {
			problems = append(problems, "there is no "+m[1])
		}
	}
	for _, name := range document.FindAllString(text, -1) {
		if !r.bases[name] {
			problems = append(problems, "there is no "+name)
		}
	}
	return problems
}
