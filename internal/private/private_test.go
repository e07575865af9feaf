//go:build unix

package private

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFolder(t *testing.T) {
	base := t.TempDir()
	mode := func(dir string) os.FileMode {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	made := filepath.Join(base, "a", "b")
	if err := Folder(made); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{made, filepath.Dir(made)} {
		if m := mode(dir); m != 0o700 {
			t.Errorf("%s was made with mode %o", dir, m)
		}
	}
	for _, was := range []os.FileMode{0o755, 0o777, 0o750, 0o700} {
		there := filepath.Join(base, "there")
		if err := os.Mkdir(there, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(there, was); err != nil {
			t.Fatal(err)
		}
		if err := Folder(there); err != nil {
			t.Fatal(err)
		}
		if m := mode(there); m != 0o700 {
			t.Errorf("mode %o became %o", was, m)
		}
		if err := os.Remove(there); err != nil {
			t.Fatal(err)
		}
	}
	shared := filepath.Join(base, "shared")
	if err := os.Mkdir(shared, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(shared, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if Folder(shared) == nil || mode(shared) != 0o777 {
		t.Errorf("a folder like /tmp was taken, its mode is %o now", mode(shared))
	}
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if Folder(filepath.Join(base, "file")) == nil {
		t.Error("a file is taken for a folder")
	}
}
