package process

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// wants are what the last commands of each example's README print, among other things.
var wants = map[string]string{
	"embedded": "tea\n",
	"fence":    `"entries": 2`,
	"metrics":  "shop_handler_seconds_count",
	"outbox":   "completed",
	"resume":   "completed",
	"submit":   "good morning",
	"webhook":  "completed",
	"worker":   "2026-01-31,131\n",
}

const (
	// ownTerminal is said behind a command that goes on until it is stopped.
	ownTerminal = "# in a terminal of its own"
	// shownWithin bounds how long the commands that end may take, all together and repeated, until they print what
	// they should: the programs beside them are compiled and started meanwhile.
	shownWithin = 3 * time.Minute
)

// above finds the folder of another module of the repository in a go.mod.
var above = regexp.MustCompile(`=> \.\.\S*`)

var jobID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`)

// TestTheREADMEsOfTheExamples runs the commands of each example's README, as they are written, in a folder with a copy
// of the examples: only addresses are others, so that this test can run beside anything.
func TestTheREADMEsOfTheExamples(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	readmes, err := filepath.Glob(filepath.Join(root, "examples/*/README.md"))
	if err != nil || len(readmes) < len(wants) {
		t.Fatalf("%d READMEs, %v", len(readmes), err)
	}
	for _, readme := range readmes {
		name := filepath.Base(filepath.Dir(readme))
		t.Run(name, func(t *testing.T) {
			if wants[name] == "" {
				t.Fatal("it is not said what the commands print: see wants")
			}
			text, err := os.ReadFile(readme)
			if err != nil {
				t.Fatal(err)
			}
			e := copyExamples(t, root)
			steps := stepsOf(string(text))
			if len(steps) == 0 {
				t.Fatal("the README has no commands")
			}
			if name != "embedded" && !strings.Contains(string(text), "bin/ackwire serve") { // make run is running
				e.begin("bin/ackwire serve")
				e.waitServed()
			}
			for i, s := range steps {
				want := ""
				if i == len(steps)-1 {
					want = wants[name]
				}
				e.step(s, want)
			}
		})
	}
}

// step is commands that go on, and then others that end.
type step struct{ begin, run []string }

// stepsOf reads the commands of a README's block. A comment says which of them go on.
func stepsOf(text string) (steps []step) {
	for _, m := range block.FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(m[3]) {
			goesOn := strings.Contains(line, ownTerminal)
			if len(steps) == 0 || goesOn && len(steps[len(steps)-1].run) > 0 {
				steps = append(steps, step{})
			}
			last := &steps[len(steps)-1]
			command := strings.TrimSpace(comment.ReplaceAllString(strings.TrimSuffix(line, "\n"), ""))
			if goesOn {
				last.begin = append(last.begin, command)
			} else {
				last.run = append(last.run, command)
			}
		}
	}
	return steps
}

// examplesFolder is a folder that looks like the repository's root to somebody who tries an example.
type examplesFolder struct {
	outside
	a       []string // clients, operations, tracker, Kafka
	replace *strings.Replacer
	id      string // of the last job that a command has named
}

func copyExamples(t *testing.T, root string) *examplesFolder {
	t.Helper()
	a := addrs(t, 7)
	e := &examplesFolder{
		outside: outside{t: t, dir: t.TempDir()}, a: a,
		replace: strings.NewReplacer("127.0.0.1:8080", a[0], "127.0.0.1:9092", a[3], "127.0.0.1:8000", a[4],
			"127.0.0.1:9000", a[5], "127.0.0.1:9100", a[6]),
	}
	e.env = append(os.Environ(), "GOFLAGS=", "GOWORK="+filepath.Join(e.dir, "go.work"), "ACKWIRE_URL=http://"+a[0],
		"ACKWIRE_LISTEN="+a[0], "ACKWIRE_OPS_LISTEN="+a[1], "ACKWIRE_TRACKER_LISTEN="+a[2], "ACKWIRE_KAFKA_LISTEN="+a[3])
	if err := os.CopyFS(filepath.Join(e.dir, "examples"), os.DirFS(filepath.Join(root, "examples"))); err != nil {
		t.Fatal(err)
	}
	change := func(name string, with func(string) string) {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(filepath.Join(e.dir, filepath.Base(name)), []byte(with(string(b))), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// Modules of the workspace are the repository's own, but for the examples.
	change(filepath.Join(root, "go.work"), func(s string) string {
		return regexp.MustCompile(`(?m)^\t\.(/(examples\S*)|\S*)$`).ReplaceAllStringFunc(s, func(use string) string {
			if strings.HasPrefix(use, "\t./examples") {
				return use
			}
			return "\t" + filepath.Join(root, strings.TrimSpace(use))
		})
	})
	change(filepath.Join(root, "go.work.sum"), func(s string) string { return s })
	mains, err := filepath.Glob(filepath.Join(e.dir, "examples/*/main.go"))
	if err != nil {
		t.Fatal(err)
	}
	mods := []string{filepath.Join(e.dir, "examples/go.mod"), filepath.Join(e.dir, "examples/embedded/go.mod")}
	for _, name := range append(mains, mods...) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := e.replace.Replace(string(b))
		if filepath.Base(name) == "go.mod" {
			text = above.ReplaceAllStringFunc(text, func(s string) string {
				return "=> " + filepath.Join(root, strings.TrimLeft(s, "=> ./"))
			})
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(e.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(binaries, "ackwire"), filepath.Join(e.dir, "bin/ackwire")); err != nil {
		t.Fatal(err)
	}
	return e
}

// step begins what goes on and runs what ends, again and again until all of it has succeeded and the last one printed
// what is wanted.
func (e *examplesFolder) step(s step, want string) {
	e.t.Helper()
	for _, command := range s.begin {
		e.begin(e.replace.Replace(command))
		if strings.HasPrefix(command, "bin/ackwire serve") {
			e.waitServed()
		}
	}
	var last error
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for deadline := time.Now().Add(shownWithin); time.Now().Before(deadline); <-tick.C {
		if last = e.all(s.run, want); last == nil {
			return
		}
	}
	e.t.Fatal(last)
}

// all runs commands, in which JOBID is the job that the one before has named.
func (e *examplesFolder) all(commands []string, want string) error {
	printed := ""
	for _, command := range commands {
		stdout, stderr, err := e.try(e.replace.Replace(strings.ReplaceAll(command, "JOBID", e.id)))
		if err != nil {
			return err
		}
		if ids := jobID.FindAllString(stdout+stderr, -1); len(ids) > 0 {
			e.id = ids[len(ids)-1]
		}
		printed += stdout
	}
	if !strings.Contains(printed, want) {
		return fmt.Errorf("%q print, without %q:\n%s", commands, want, printed)
	}
	return nil
}

func (e *examplesFolder) waitServed() {
	e.t.Helper()
	served := &proc{t: e.t, name: "ackwire serve", ready: "http://" + e.a[1] + "/readyz"}
	served.waitReady()
}
