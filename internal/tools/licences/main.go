// Command licences writes one file with the licences of all modules that commands are built from, and of Go
// itself. Modules with the same text share one copy.
//
//	licences -C DIR -out FILE [-tags TAGS] [-lock FILE] PACKAGE…
//
// The file is the same on every machine: it is always made for linux/amd64, without cgo.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// own is the prefix of the modules of this project, whose licence is the file LICENSE.
const own = "github.com/ackwire/ackwire"

func main() {
	dir := flag.String("C", ".", "folder in which the packages are looked up")
	out := flag.String("out", "", "file to write, relative to the folder")
	tags := flag.String("tags", "", "build tags")
	lock := flag.String("lock", "", "lock file of libraries whose source is beside it, relative to the folder")
	flag.Parse()
	if err := run(*dir, *out, *tags, *lock, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

func run(dir, out, tags, lock string, packages []string) error {
	if out == "" || len(packages) == 0 {
		return errors.New("-out and at least one package are required")
	}
	listed, err := list(dir, tags, packages)
	if err != nil {
		return err
	}
	files, err := licences(listed)
	if err != nil {
		return err
	}
	if lock != "" {
		if err := locked(files, filepath.Join(dir, lock)); err != nil {
			return err
		}
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	for _, name := range []string{"LICENSE", "PATENTS"} {
		b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(goroot)), name))
		if err != nil {
			return err
		}
		files["Go's runtime and standard library: "+name] = string(b)
	}
	var b bytes.Buffer
	write(&b, files)
	return os.WriteFile(filepath.Join(dir, out), b.Bytes(), 0o644)
}

// listing is a package in the output of go list.
type listing struct {
	Dir    string
	Module *struct{ Path, Version, Dir string }
}

// list returns the packages of other projects that the given commands are built from.
func list(dir, tags string, packages []string) ([]listing, error) {
	cmd := exec.Command("go", append([]string{"list", "-deps", "-json=Dir,Module", "-tags", tags}, packages...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	cmd.Stderr = os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []listing
	for d := json.NewDecoder(bytes.NewReader(b)); ; {
		var l listing
		switch err := d.Decode(&l); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("go list: %w", err)
		}
		if l.Module != nil && l.Module.Path != own && !strings.HasPrefix(l.Module.Path, own+"/") {
			all = append(all, l)
		}
	}
}

// isLicence matches the names of licence files, which must accompany copies of the code.
var isLicence = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)([-._].*)?$`)

// licences returns the texts of licences by module, version and file. It looks in each package's folder and in all
// folders above it up to the module's root, for a package may contain code with another licence. A module without
// any licence is an error.
func licences(packages []listing) (map[string]string, error) {
	files, licensed := map[string]string{}, map[string]bool{}
	for _, p := range packages {
		licensed[p.Module.Path] = licensed[p.Module.Path] // adds the module with false, if it is new
		for dir := p.Dir; ; dir = filepath.Dir(dir) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if !e.Type().IsRegular() || !isLicence.MatchString(e.Name()) || filepath.Ext(e.Name()) == ".go" {
					continue
				}
				file := filepath.Join(dir, e.Name())
				b, err := os.ReadFile(file)
				if err != nil {
					return nil, err
				}
				name, err := filepath.Rel(p.Module.Dir, file)
				if err != nil {
					return nil, err
				}
				files[p.Module.Path+" "+p.Module.Version+": "+filepath.ToSlash(name)] = string(b)
				licensed[p.Module.Path] = true
			}
			if dir == p.Module.Dir {
				break
			}
		}
	}
	var missing []string
	for module, ok := range licensed {
		if !ok {
			missing = append(missing, module)
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, fmt.Errorf("no licence is found for %s", strings.Join(missing, ", "))
	}
	return files, nil
}

// locked adds the licences of the libraries of a lock file. Each is in a folder of its name beside the file.
func locked(files map[string]string, lock string) error {
	b, err := os.ReadFile(lock)
	if err != nil {
		return err
	}
	var all []struct{ Name, Version string }
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("%s: %w", lock, err)
	}
	for _, l := range all {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(lock), l.Name, "LICENSE"))
		if err != nil {
			return fmt.Errorf("no licence is found for %s: %w", l.Name, err)
		}
		files["npm "+l.Name+" "+l.Version+": LICENSE"] = string(text)
	}
	return nil
}

const head = `Ackwire itself is licensed under the Apache License 2.0, which is the file LICENSE beside this.
Its programs contain the code of others. Each text below is preceded by what it is the licence of:
module, version and file. Made by "make licences".
`

// write writes each text once, below the names of all files that have it. Texts that differ only in white space are
// the same.
func write(b *bytes.Buffer, files map[string]string) {
	b.WriteString(head)
	names, texts := map[string][]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		same := strings.Join(strings.Fields(files[name]), " ")
		if len(names[same]) == 0 {
			texts[same] = strings.TrimSpace(strings.ReplaceAll(files[name], "\r\n", "\n"))
		}
		names[same] = append(names[same], name)
	}
	order := slices.SortedFunc(maps.Keys(names), func(a, b string) int {
		return strings.Compare(names[a][0], names[b][0])
	})
	for _, same := range order {
		fmt.Fprintf(b, "\n%s\n%s\n%s\n\n", strings.Repeat("=", 80), strings.Join(names[same], "\n"), strings.Repeat("-", 80))
		for line := range strings.Lines(texts[same]) {
			b.WriteString(strings.TrimRight(line, " \t\n\f") + "\n")
		}
	}
}
