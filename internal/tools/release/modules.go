package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// repository is the path of the module at the repository's root, and the prefix of all other modules' paths.
const repository = "github.com/ackwire/ackwire"

// goModule is one module of the repository.
type goModule struct {
	folder string // relative to the root, with slashes; "." is the root
	file   *modfile.File
}

func (m *goModule) path() string { return m.file.Module.Mod.Path }

// tag returns the git tag of a version of the module (https://go.dev/ref/mod#vcs-version).
func (m *goModule) tag(version string) string {
	if m.folder == "." {
		return version
	}
	return m.folder + "/" + version
}

// requires returns the paths of the repository's modules that the module requires.
func (m *goModule) requires() []string {
	var all []string
	for _, r := range m.file.Require {
		if r.Mod.Path == repository || strings.HasPrefix(r.Mod.Path, repository+"/") {
			all = append(all, r.Mod.Path)
		}
	}
	return all
}

// readModules reads the modules of the workspace and returns them in an order in which each comes after those that
// it requires.
func readModules(root string) ([]*goModule, error) {
	b, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		return nil, err
	}
	work, err := modfile.ParseWork("go.work", b, nil)
	if err != nil {
		return nil, err
	}
	byPath := map[string]*goModule{}
	for _, use := range work.Use {
		name := filepath.Join(root, use.Path, "go.mod")
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		file, err := modfile.Parse(name, b, nil)
		if err != nil {
			return nil, err
		}
		m := &goModule{folder: filepath.ToSlash(filepath.Clean(use.Path)), file: file}
		if want := joinPath(m.folder); m.path() != want {
			return nil, fmt.Errorf("the module in %s is called %s, and go get looks for %s there", m.folder, m.path(), want)
		}
		byPath[m.path()] = m
	}
	return ordered(byPath)
}

func joinPath(folder string) string {
	if folder == "." {
		return repository
	}
	return repository + "/" + folder
}

// ordered returns the modules in an order in which each comes after those that it requires, by a depth-first walk.
func ordered(byPath map[string]*goModule) ([]*goModule, error) {
	var order []*goModule
	done, open := map[string]bool{}, map[string]bool{}
	var visit func(path string) error
	visit = func(path string) error {
		m := byPath[path]
		switch {
		case done[path]:
			return nil
		case m == nil:
			return fmt.Errorf("%s is required and not in go.work", path)
		case open[path]:
			return fmt.Errorf("%s requires itself, through others", path)
		}
		open[path] = true
		for _, required := range m.requires() {
			if err := visit(required); err != nil {
				return err
			}
		}
		done[path] = true
		order = append(order, m)
		return nil
	}
	paths := make([]string, 0, len(byPath))
	for path := range byPath {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		if err := visit(path); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// prepare rewrites the modules of a tree for a release: each requires the others at the version, has no
// replacements, and gets the repository's licence. If proxy is not empty, each is packed into that folder. A
// module is prepared after the modules that it requires, because its go.sum holds their checksums.
func prepare(root, version, proxy string) error {
	modules, err := readModules(root)
	if err != nil {
		return err
	}
	licence, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	if err != nil {
		return err
	}
	sums := map[string]string{} // by module: its lines for go.sum
	for _, m := range modules {
		folder := filepath.Join(root, filepath.FromSlash(m.folder))
		if err := m.rewrite(folder, version, sums); err != nil {
			return fmt.Errorf("%s: %w", m.path(), err)
		}
		if err := os.WriteFile(filepath.Join(folder, "LICENSE"), licence, 0o644); err != nil {
			return err
		}
		if sums[m.path()], err = m.pack(folder, version, proxy); err != nil {
			return fmt.Errorf("%s: %w", m.path(), err)
		}
		fmt.Println(m.tag(version))
	}
	return nil
}

// rewrite writes the module's go.mod and go.sum.
func (m *goModule) rewrite(folder, version string, sums map[string]string) error {
	sum := ""
	for _, path := range m.requires() {
		if err := m.file.AddRequire(path, version); err != nil {
			return err
		}
		sum += sums[path]
	}
	for _, r := range slices.Clone(m.file.Replace) {
		if err := m.file.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return err
		}
	}
	m.file.Cleanup()
	b, err := m.file.Format()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), b, 0o644); err != nil {
		return err
	}
	name := filepath.Join(folder, "go.sum")
	others, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	lines := strings.SplitAfter(sum+string(others), "\n")
	slices.Sort(lines)
	return os.WriteFile(name, []byte(strings.Join(lines, "")), 0o644)
}

// pack makes the module's archive, in the proxy if there is one, and returns the module's lines for go.sum.
func (m *goModule) pack(folder, version, proxy string) (sum string, err error) {
	v := module.Version{Path: m.path(), Version: version}
	scratch, err := os.MkdirTemp("", "ackwire-module")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	into := scratch
	if proxy != "" {
		escaped, err := module.EscapePath(v.Path)
		if err != nil {
			return "", err
		}
		into = filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
		if err := os.MkdirAll(into, 0o755); err != nil {
			return "", err
		}
	}
	archive := filepath.Join(into, version+".zip")
	out, err := os.Create(archive)
	if err != nil {
		return "", err
	}
	if err := errors.Join(zip.CreateFromDir(out, v, folder), out.Close()); err != nil {
		return "", err
	}
	ofAll, err := dirhash.HashZip(archive, dirhash.Hash1)
	if err != nil {
		return "", err
	}
	goMod := filepath.Join(folder, "go.mod")
	ofMod, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return os.Open(goMod) })
	if err != nil {
		return "", err
	}
	sum = fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", v.Path, version, ofAll, v.Path, version, ofMod)
	if proxy == "" {
		return sum, nil
	}
	b, err := os.ReadFile(goMod)
	if err != nil {
		return "", err
	}
	info := fmt.Sprintf(`{"Version":%q,"Time":%q}`, version, time.Now().UTC().Format(time.RFC3339))
	return sum, errors.Join(
		os.WriteFile(filepath.Join(into, version+".mod"), b, 0o644),
		os.WriteFile(filepath.Join(into, version+".info"), []byte(info), 0o644),
		os.WriteFile(filepath.Join(into, "list"), []byte(version+"\n"), 0o644),
	)
}
