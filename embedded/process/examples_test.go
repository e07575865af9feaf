package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// documents hold the examples that users try. A block of commands is run, line by line, unless a comment
// before it says why not:
//
//	<!-- not run: why -->      nothing of it is
//	<!-- only parsed: why -->  each command is asked for its help, with all its flags
var documents = []string{
	"README.md", "docs/*.md", "processor/README.md", "processor/examples/*/README.md", "schemas/README.md",
	"tracker/README.md", "loadtest/README.md",
}

const exampleWithin = time.Minute

var (
	block   = regexp.MustCompile("(?ms)^(?:<!-- (not run|only parsed): [^\n]+ -->\n)?```(\\w*)\n(.*?)^```")
	comment = regexp.MustCompile(`\s{2,}#.*$|\s+#\s.*$`)
)

// example is one command of a document.
type example struct {
	at         string // file:line
	command    string
	onlyParsed bool
}

// readExamples finds all that is to be run.
func readExamples(t *testing.T, root string) (all []example) {
	t.Helper()
	for _, pattern := range documents {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no such document, %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range block.FindAllSubmatchIndex(text, -1) {
				marker, language := "", string(text[m[4]:m[5]])
				if m[2] >= 0 {
					marker = string(text[m[2]:m[3]])
				}
				if marker == "not run" || language != "" && language != "sh" {
					continue
				}
				line := 1 + strings.Count(string(text[:m[6]]), "\n")
				for _, c := range commandsOf(string(text[m[6]:m[7]])) {
					all = append(all, example{fmt.Sprintf("%s:%d", name, line+c.line), c.text, marker == "only parsed"})
				}
			}
		}
	}
	return all
}

type lineOfBlock struct {
	line int
	text string
}

// commandsOf joins the lines of a block that belong together, without comments; a block that has no
// commands, a drawing, has none.
func commandsOf(text string) (all []lineOfBlock) {
	if strings.ContainsRune(text, '│') {
		return nil
	}
	joined, from := "", 0
	for i, line := range strings.Split(text, "\n") {
		line = comment.ReplaceAllString(line, "")
		if joined == "" {
			from = i
		}
		if before, more := strings.CutSuffix(strings.TrimRight(line, " "), `\`); more {
			joined += before + " "
			continue
		}
		joined += line
		if strings.TrimSpace(joined) != "" {
			all = append(all, lineOfBlock{from, strings.TrimSpace(joined)})
		}
		joined = ""
	}
	return all
}

// TestExamplesOfTheDocumentation runs what the documents say that users run, against a real Ackwire.
func TestExamplesOfTheDocumentation(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	work, a := t.TempDir(), addrs(t, 4)
	if err := os.Mkdir(filepath.Join(work, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ackwire", "gateway", "tracker", "processor", "loadtest"} {
		if name == "loadtest" {
			buildLoadtest(t)
		}
		if err := os.Symlink(filepath.Join(binaries, name), filepath.Join(work, "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	// What commands that are only parsed name must be there.
	for _, name := range []string{"key", "tokens", "my.yaml", "gw.password", "before/report.json", "after/report.json",
		"loadtest-runs/…/history.ndjson"} {
		name = filepath.Join(work, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	jobTypes := []byte("types:\n  report.generate: {lane: reports}\n")
	if err := os.WriteFile(filepath.Join(work, "jobs.yaml"), jobTypes, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, "ackwire", a[1], serveArgs(filepath.Join(work, "data"), a)...)
	ran := 0
	for _, e := range readExamples(t, root) {
		t.Run(e.at, func(t *testing.T) {
			if strings.HasPrefix(e.command, "kcat ") {
				return // another program, which would follow the log for ever
			}
			ran++
			e.run(t, work, a)
		})
	}
	if ran < 20 {
		t.Errorf("only %d examples were found", ran)
	}
}

// run runs an example as a shell does. JOBID is a job of its own: one that waits, if it is to be
// cancelled, else one that has completed.
func (e example) run(t *testing.T, work string, a []string) {
	t.Helper()
	command := e.command
	switch {
	case e.onlyParsed && !strings.HasPrefix(command, "bin/"):
		command = "bin/" + command + " --help"
	case e.onlyParsed:
		command += " --help"
	case strings.Contains(command, "JOBID") && strings.Contains(command, "cancel"):
		command = strings.ReplaceAll(command, "JOBID", shell(t, work, a, `bin/ackwire submit demo.echo 1 --in 10m --no-wait`))
	case strings.Contains(command, "JOBID"):
		id := shell(t, work, a, `bin/ackwire submit report.generate '{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}' --no-wait`)
		shell(t, work, a, "bin/ackwire watch "+id)
		command = strings.ReplaceAll(command, "JOBID", id)
	}
	shell(t, work, a, command)
}

// shell runs a command that has to succeed and returns what it printed.
func shell(t *testing.T, work string, a []string, command string) string {
	t.Helper()
	command = strings.NewReplacer("127.0.0.1:8080", a[0], "127.0.0.1:8081", a[1], "127.0.0.1:9092", a[3], "curl ",
		"curl --fail-with-body ").Replace(command)
	ctx, cancel := context.WithTimeout(t.Context(), exampleWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	cmd.Dir, cmd.Env = work, append(os.Environ(), "ACKWIRE_URL=http://"+a[0])
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", command, err, out, &errs)
	}
	return strings.TrimSpace(string(out))
}
