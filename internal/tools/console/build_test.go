package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const repository = "../../.."

// TestOutputIsNotOld: the committed files are what the source makes now.
func TestOutputIsNotOld(t *testing.T) {
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	made, err := build(root)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := read(filepath.Join(root, assetsDir))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range made {
		if !bytes.Equal(kept[name], content) {
			t.Errorf("%s is old: run make generate, and commit %s", name, assetsDir)
		}
	}
	for name := range kept {
		if made[name] == nil {
			t.Errorf("%s is not made any more: run make generate, and commit %s", name, assetsDir)
		}
	}
}

// TestOneScript: what the client would load late is in the page's one script. Only the chart is another one.
func TestOneScript(t *testing.T) {
	root, err := filepath.Abs(repository)
	if err != nil {
		t.Fatal(err)
	}
	made, err := build(root)
	if err != nil {
		t.Fatal(err)
	}
	scripts := 0
	for name, content := range made {
		if !strings.HasSuffix(name, ".js") {
			continue
		}
		scripts++
		late := bytes.Count(content, []byte("import("))
		if chart := regexp.MustCompile(`import\("\./plot-\w+\.js"\)`).Find(content); chart != nil && !strings.HasPrefix(name, "plot-") {
			late--
		}
		if late != 0 {
			t.Errorf("%s imports something late", name)
		}
	}
	if scripts != 2 {
		t.Errorf("%d scripts", scripts)
	}
	got := withoutDynamicImports("a(() => import(\"./b.js\"));\nc = import(\"./d/e.js\").then(f);\n")
	want := "import * as late1 from \"./b.js\";\nimport * as late2 from \"./d/e.js\";\n" +
		"a(() => Promise.resolve(late1));\nc = Promise.resolve(late2).then(f);\n"
	if got != want {
		t.Errorf("%s", got)
	}
}

// TestLibrariesAreLocked: a library that was changed by hand is refused.
func TestLibrariesAreLocked(t *testing.T) {
	root := t.TempDir()
	third := filepath.Join(root, webDir, "third")
	if err := os.CopyFS(third, os.DirFS(filepath.Join(repository, webDir, "third"))); err != nil {
		t.Fatal(err)
	}
	if err := checkLock(root); err != nil {
		t.Fatal(err)
	}
	all, err := readLock(root)
	if err != nil || len(all) == 0 {
		t.Fatalf("%d libraries, %v", len(all), err)
	}
	for _, l := range all {
		if l.Files["LICENSE"] == "" || !strings.Contains(l.Resolved, l.Version) ||
			!strings.HasPrefix(l.Integrity, "sha512-") {
			t.Errorf("%+v", l)
		}
	}
	if err := os.WriteFile(filepath.Join(third, all[0].Name, "more.js"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkLock(root); err == nil {
		t.Error("a file that is not in the lock file is taken")
	}
}

// TestWriteAndRead: what is written is read again, and what was there before is gone.
func TestWriteAndRead(t *testing.T) {
	dir := t.TempDir()
	for _, files := range []map[string][]byte{{"a-1.js": []byte("1"), "b.css": []byte("2")}, {"a-2.js": []byte("3")}} {
		if err := write(dir, files); err != nil {
			t.Fatal(err)
		}
		got, err := read(dir)
		if err != nil || len(got) != len(files) {
			t.Fatalf("%d files, %v", len(got), err)
		}
		for name, content := range files {
			if !bytes.Equal(got[name], content) {
				t.Errorf("%s: %q", name, got[name])
			}
		}
	}
}
