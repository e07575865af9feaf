package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree writes a module's files below a new folder.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func of(module, dir, pkg string) listing {
	return listing{Dir: filepath.Join(dir, pkg), Module: &struct{ Path, Version, Dir string }{module, "v1.0.0", dir}}
}

func TestLicencesOfModulesAndOfPackagesWithin(t *testing.T) {
	a := tree(t, map[string]string{
		"LICENSE": "MIT", "license.go": "package a", "x/y/COPYING": "BSD", "z/LICENSE": "of what is not built",
	})
	b := tree(t, map[string]string{"LICENCE.md": " MIT\r\n", "NOTICE": "thanks"})
	files, err := licences([]listing{
		of("example.com/a", a, "x/y"), of("example.com/a", a, ""), of("example.com/b", b, ""),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	write(&got, files)
	_, texts, _ := strings.Cut(got.String(), "\n"+strings.Repeat("=", 80)+"\n")
	want := "example.com/a v1.0.0: LICENSE\nexample.com/b v1.0.0: LICENCE.md\n---\n\nMIT\n\n===\n" +
		"example.com/a v1.0.0: x/y/COPYING\n---\n\nBSD\n\n===\n" +
		"example.com/b v1.0.0: NOTICE\n---\n\nthanks\n"
	texts = strings.NewReplacer(strings.Repeat("=", 80), "===", strings.Repeat("-", 80), "---").Replace(texts)
	if texts != want {
		t.Errorf("got\n%s\nwant\n%s", texts, want)
	}
}

func TestAModuleWithoutALicenceIsAnError(t *testing.T) {
	dir := tree(t, map[string]string{"a.go": "package a"})
	if _, err := licences([]listing{of("example.com/a", dir, "")}); err == nil ||
		!strings.Contains(err.Error(), "example.com/a") {
		t.Errorf("got %v", err)
	}
}

// TestLockedLibraries: the libraries of the console's page have their licences in the file, and one without is an error.
func TestLockedLibraries(t *testing.T) {
	files := map[string]string{}
	if err := locked(files, "../../../gateway/console/web/third/lock.json"); err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for name, text := range files {
		if !strings.HasPrefix(name, "npm ") || !strings.Contains(text, "Permission is hereby granted") {
			t.Errorf("%s: %.60s", name, text)
		}
	}
	lock := filepath.Join(t.TempDir(), "lock.json")
	if err := os.WriteFile(lock, []byte(`[{"name":"none","version":"1"}]`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := locked(files, lock); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
}
