// Command release makes a release of all modules of this repository at one version.
//
//	release -version v1.2.3 -proxy DIR   fills a module proxy (GOPROXY=file://DIR) from the working tree
//	release -version v1.2.3              makes a commit and a tag for each module, to be pushed by hand
//
// In the repository the modules require each other at v0.0.0 and replace that with a folder, so that a change
// needs one commit and not one for each module. Such a go.mod is of no use outside: `go get` finds no v0.0.0, and
// `go install …@version` refuses replacements. So the commit of a release, which is on no branch, has go.mod
// files that require the release's version without replacements, and go.sum files with these modules' sums.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/semver"
)

func main() {
	version := flag.String("version", "", "version of all modules, such as v0.2.0")
	proxy := flag.String("proxy", "",
		"folder that is filled as a module proxy from the working tree; nothing is committed or tagged")
	root := flag.String("C", ".", "root of the repository")
	flag.Parse()
	var err error
	switch {
	case flag.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flag.Arg(0))
	case semver.Canonical(*version) != *version || *version == "":
		err = fmt.Errorf("-version must be a complete semantic version such as v0.2.0, not %q", *version)
	case semver.Major(*version) != "v0" && semver.Major(*version) != "v1":
		err = errors.New("from v2 on the module paths end in /v2 (https://go.dev/ref/mod#major-version-suffixes): change " +
			"them first")
	case *proxy != "":
		err = fillProxy(*root, *version, *proxy)
	default:
		err = tag(*root, *version)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// fillProxy packs the working tree's modules, including changes that are not committed.
func fillProxy(root, version, proxy string) error {
	copied, err := os.MkdirTemp("", "ackwire-release")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(copied) }()
	if err := copyTree(root, copied); err != nil {
		return err
	}
	return prepare(copied, version, proxy)
}

// copyTree copies the files that are tracked by git or could be: all but ignored ones.
func copyTree(root, to string) error {
	listed, err := git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	if err != nil {
		return err
	}
	for _, name := range strings.Split(strings.TrimSuffix(listed, "\x00"), "\x00") {
		from, into := filepath.Join(root, name), filepath.Join(to, name)
		info, err := os.Lstat(from)
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and the deletion is not committed yet
		}
		if err != nil {
			return err
		}
		if !info.Mode().IsRegular() {
			continue
		}
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(into), 0o755)
		}
		if err == nil {
			err = os.WriteFile(into, b, info.Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tag makes the release's commit and its tags. Nothing is pushed.
func tag(root, version string) error {
	notes, err := check(root, version)
	if err != nil {
		return err
	}
	tree, err := os.MkdirTemp("", "ackwire-release")
	if err != nil {
		return err
	}
	defer func() {
		_, _ = git(root, "worktree", "remove", "--force", tree)
	}()
	if _, err := git(root, "worktree", "add", "--detach", tree); err != nil {
		return err
	}
	if err := prepare(tree, version, ""); err != nil {
		return err
	}
	if _, err := git(tree, "add", "--all"); err != nil {
		return err
	}
	if _, err := git(tree, "commit", "--quiet", "-m", "release: "+version+
		"\n\nAll modules require each other at this version."); err != nil {
		return err
	}
	modules, err := readModules(tree)
	if err != nil {
		return err
	}
	push := "git push --atomic origin"
	for _, m := range modules {
		name := m.tag(version)
		if _, err := git(tree, "tag", "--annotate", "-m", "Ackwire "+version+"\n\n"+notes, name); err != nil {
			return err
		}
		push += " " + name
	}
	fmt.Printf("%d modules are tagged. Push all tags at once:\n\n%s\n", len(modules), push)
	return nil
}

// check returns the release's notes, or an error that says why the release is not possible now.
func check(root, version string) (notes string, err error) {
	if changed, err := git(root, "status", "--porcelain"); err != nil || changed != "" {
		return "", errors.Join(err, errors.New("the working tree has changes that are not committed"))
	}
	tags, err := git(root, "tag", "--list", "v*")
	if err != nil {
		return "", err
	}
	for _, t := range strings.Fields(tags) {
		if semver.Compare(t, version) >= 0 {
			return "", fmt.Errorf("%s is not above %s, which is released", version, t)
		}
	}
	changelog, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return "", err
	}
	return notesOf(string(changelog), version)
}

// notesOf returns the section of a version in a changelog (keepachangelog.com).
func notesOf(changelog, version string) (string, error) {
	heading := "## [" + strings.TrimPrefix(version, "v") + "]"
	_, after, found := strings.Cut("\n"+changelog, "\n"+heading)
	if !found {
		return "", fmt.Errorf("CHANGELOG.md has no section %q", heading)
	}
	_, section, _ := strings.Cut(after, "\n")
	section, _, _ = strings.Cut(section, "\n## ")
	if section, _, _ = strings.Cut(section, "\n["); strings.TrimSpace(section) == "" {
		return "", fmt.Errorf("the section %q of CHANGELOG.md is empty", heading)
	}
	return strings.TrimSpace(section), nil
}

func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(errs.Bytes()))
	}
	return string(out), nil
}
