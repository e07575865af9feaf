package process

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/job"
)

// The version under which the modules are put into a proxy: go get takes it for the latest.
const outsideVersion = "v0.99.0"

// outsideWithin bounds a command of a new user: the first ones fetch and build all that they need.
const outsideWithin = 5 * time.Minute

// fileOf finds the files that a page tells its readers to write.
var fileOf = regexp.MustCompile("(?ms)^<!-- file: (\\S+) -->\n```\\w+\n(.*?)^```")

// outside is a user's module, with the files that a page shows.
type outside struct {
	t   *testing.T
	dir string
	env []string
}

// newOutside writes the files of a page into a new folder. The modules come from a proxy that the
// recipe of a release has filled, as they would come to anybody.
func newOutside(t *testing.T, page string) *outside {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	proxy := t.TempDir()
	release := exec.CommandContext(t.Context(), "go", "run", "./release", "-C", root, "-version", outsideVersion,
		"-proxy", proxy)
	release.Dir, release.Env = filepath.Join(root, "internal/tools"), append(os.Environ(), "GOWORK=off")
	if out, err := release.CombinedOutput(); err != nil {
		t.Fatalf("release: %v\n%s", err, out)
	}
	// A module cache of its own: the go command takes what it has read of a version for good, and
	// the made-up version is another one in each run. Other people's modules come from the usual one.
	proxies := strings.Join([]string{
		"file://" + proxy,
		"file://" + filepath.ToSlash(goEnv(t, "GOMODCACHE")) + "/cache/download",
		goEnv(t, "GOPROXY"),
	}, ",")
	o := &outside{t: t, dir: t.TempDir(), env: append(os.Environ(), "GOWORK=off", "GOFLAGS=-modcacherw",
		"GOMODCACHE="+t.TempDir(), "GOPROXY="+proxies, "GONOSUMDB=github.com/ackwire/*")}
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range fileOf.FindAllStringSubmatch(string(text), -1) {
		name := filepath.Join(o.dir, m[1])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(m[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

func goEnv(t *testing.T, name string) string {
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// run runs a command line to its end, which must be a good one, and returns what it printed.
func (o *outside) run(command string) string {
	o.t.Helper()
	out, _, err := o.try(command)
	if err != nil {
		o.t.Fatal(err)
	}
	return out
}

// try runs a command line to its end and returns what it printed.
func (o *outside) try(command string) (stdout, stderr string, err error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), outsideWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	cmd.Dir, cmd.Env = o.dir, o.env
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", "", fmt.Errorf("%s: %w\n%s%s", command, err, out, &errs)
	}
	return string(out), errs.String(), nil
}

// begin starts a command line that goes on, and returns how it is stopped.
func (o *outside) begin(command string) (stop func()) {
	o.t.Helper()
	cmd := exec.Command("bash", "-c", command)
	printed := &tail{}
	cmd.Dir = o.dir
	cmd.Env = o.env
	cmd.Stdout = printed
	cmd.Stderr = printed
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // go run is not the program that it runs
	if err := cmd.Start(); err != nil {
		o.t.Fatal(err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
			_ = cmd.Wait()
		}
	}
	o.t.Cleanup(func() {
		stop()
		if o.t.Failed() {
			o.t.Logf("%s printed at last:\n%s", command, printed)
		}
	})
	return stop
}

// TestANewUser follows the README as a user who writes a worker and a client, in
// a module that is not part of this repository: submit, kill, resume.
func TestANewUser(t *testing.T) {
	o, a := newOutside(t, "README.md"), addrs(t, 4)
	o.at(a)
	commands := o.commands("README.md")
	if len(commands) != 4 {
		t.Fatalf("the README has %d commands for a new user: %q", len(commands), commands)
	}
	setUp := commands[0]
	work := commands[1]
	submit := commands[2]
	resume := commands[3]
	o.run(setUp)
	goMod := o.run("cat go.mod")
	if lines := strings.Count(goMod, "\n"); lines > 60 {
		t.Errorf("the go.mod of a worker and a client has %d lines:\n%s", lines, goMod)
	}
	server := start(t, "ackwire", a[1], append(serveArgs(t.TempDir(), a), "--job-types", filepath.Join(o.dir,
		"jobtypes.yaml"))...)

	stop := o.begin(work)
	if out := o.run(submit); !strings.HasSuffix(out, `completed {"Bytes":12}`+"\n") ||
		!strings.HasPrefix(out, "durable: ") {
		t.Fatalf("%s printed:\n%s", submit, out)
	}
	// A job whose worker is not there yet outlives the server, and the client finds it again.
	stop()
	waiting := o.begin(submit)
	var id string
	within(t, startWithin, "the job is durable", func() bool {
		id = jobOf(a[0])
		return id != ""
	})
	waiting()
	server.kill()
	server.start()
	server.waitReady()
	o.begin(work)
	if out := o.run(strings.ReplaceAll(resume, "JOBID", id)); !strings.HasSuffix(out, `completed {"Bytes":12}`+"\n") {
		t.Errorf("%s printed:\n%s", resume, out)
	}
}

// at has the module's programs use a server's addresses in place of the usual ones.
func (o *outside) at(a []string) {
	for _, name := range []string{"worker/main.go", "client/main.go"} {
		name = filepath.Join(o.dir, name)
		b, err := os.ReadFile(name)
		if err != nil {
			o.t.Fatal(err)
		}
		text := strings.NewReplacer("127.0.0.1:8080", a[0], "127.0.0.1:9092", a[3]).Replace(string(b))
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			o.t.Fatal(err)
		}
	}
}

// commands are those of the page's block that names this test.
func (o *outside) commands(page string) (all []string) {
	b, err := os.ReadFile(filepath.Join("../..", page))
	if err != nil {
		o.t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "<!-- not run: TestANewUser does, in a module outside -->\n```\n")
	text, _, _ := strings.Cut(after, "\n```")
	for _, line := range commandsOf(text) {
		all = append(all, line.text)
	}
	return all
}

// jobOf is the ID of a job that has not ended; "" if there is none.
func jobOf(addr string) string {
	resp, err := http.Get("http://" + addr + "/v1/jobs?state=" + string(job.Pending))
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var page struct{ Jobs []struct{ JobID string } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Jobs) == 0 {
		return ""
	}
	return page.Jobs[0].JobID
}

// TestAReleaseTagsEveryModule makes a release in a copy of the repository.
func TestAReleaseTagsEveryModule(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	copied := t.TempDir()
	o := &outside{t: t, dir: copied, env: append(os.Environ(), "GOWORK=off",
		"GIT_AUTHOR_NAME=release", "GIT_AUTHOR_EMAIL=release@example.org", "GIT_COMMITTER_NAME=release",
		"GIT_COMMITTER_EMAIL=release@example.org")}
	o.run("git clone --quiet " + root +
		" . && printf '# Changelog\n\n## [0.99.0] - 2026-01-01\n\n- It is there.\n\n## [0.98.0] - 2025-01-01\n\n- " +
		"Older.\n' >CHANGELOG.md")
	o.run("git add CHANGELOG.md && git commit --quiet -m 'release notes'")
	tool := "cd " + filepath.Join(root, "internal/tools") + " && go run ./release -C " + copied + " -version "
	if out := o.run(tool + outsideVersion); !strings.Contains(out, "git push --atomic origin internal/api/"+outsideVersion+
		" schemas/"+outsideVersion+" "+outsideVersion+" ") {
		t.Errorf("it says:\n%s", out)
	}
	tags := strings.Fields(o.run("git tag"))
	// Those that are not in go.work are only for the repository's own use.
	if modules := strings.Fields(o.run("git show HEAD:go.work | grep -P '^\\t[.]'")); len(tags) != len(modules) {
		t.Errorf("%d modules have the tags %q", len(modules), tags)
	}
	for _, tag := range tags {
		folder := strings.TrimSuffix(strings.TrimSuffix(tag, outsideVersion), "/")
		if mod := o.run("git show " + tag + ":./" + filepath.Join(folder, "go.mod")); strings.Contains(mod, "v0.0.0\n") ||
			strings.Contains(mod, "replace") {
			t.Errorf("%s has this go.mod:\n%s", tag, mod)
		}
		if notes := o.run("git tag --list --format='%(contents)' " + tag); !strings.Contains(notes, "It is there.") ||
			strings.Contains(notes, "Older.") {
			t.Errorf("the tag %s says:\n%s", tag, notes)
		}
	}
	if status := o.run("git status --porcelain && git log -1 --format=%s"); status != "release notes\n" {
		t.Errorf("the branch is changed: %s", status)
	}
	for version, want := range map[string]string{
		"v0.99.0": "is not above", "v1.0.0": "has no section", "1.0.0": "complete semantic version",
		"v2.0.0": "change them first",
	} {
		if out := o.run("(" + tool + version + " 2>&1 || true)"); !strings.Contains(out, want) {
			t.Errorf("%s: %s, not %q", version, out, want)
		}
	}
}
