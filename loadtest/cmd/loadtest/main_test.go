package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/loadtest/report"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tiny = `name: tiny
sockets: 4
tenants: 2
connectOver: 0.1s
jobs:
  - {job: demo.echo, payload: {n: 1}, get: 100%, ends: completed}
  - {name: keyed, job: demo.echo, payload: {n: 2}, key: true, ends: completed}
phases:
  - {duration: 1s, rate: 10}
  - {duration: 0.5s, rate: 10, reconnect: {share: 50%, over: 0.1s}}
`

// A newcomer's first command, from the scenario to the reports, which can be checked and
// compared again.
func TestRunCheckAndCompare(t *testing.T) {
	dir := t.TempDir()
	file, out := filepath.Join(dir, "tiny.yaml"), filepath.Join(dir, "out")
	if err := os.WriteFile(file, []byte(tiny), 0o600); err != nil {
		t.Fatal(err)
	}
	run := runCmd{
		Scenario: file, Embedded: true, Tenant: "t", Durations: 1, Load: 1, Verify: 1, Out: out, Plain: true,
		Every: time.Minute,
	}
	if err := run.Run(); err != nil {
		t.Fatal(err)
	}
	result, err := report.ReadResult(filepath.Join(out, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	v := result.Verdict
	if result.Counts.Arrivals != 15 || !v.Complete || v.Found != 0 || v.Unproven != 0 || v.Acked == 0 ||
		result.Counts.Cut != 2 {
		t.Errorf("%+v, %+v", result.Counts, v)
	}
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil || !strings.Contains(string(page), "All that was promised held") {
		t.Errorf("%v: %.200s", err, page)
	}
	if err := (&compareCmd{A: filepath.Join(out, "report.json"), B: filepath.Join(out, "report.json"),
		Threshold: 1.2}).Run(); err != nil {
		t.Errorf("a run is worse than itself: %v", err)
	}

	name := filepath.Join(out, "history.ndjson")
	if err := (&checkCmd{History: name}).Run(); err != nil {
		t.Error(err)
	}
	history, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(history), "\n")
	for i, line := range lines {
		if strings.Contains(line, `"k":"status"`) {
			lines[i] += line
			break
		}
	}
	if err := os.WriteFile(name, []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&checkCmd{History: name, JSON: true}).Run(); err == nil || !strings.Contains(err.Error(), "1 violations") {
		t.Errorf("a status that came twice: %v", err)
	}
}

func TestWhatCannotBeRunIsRefused(t *testing.T) {
	fine := runCmd{
		Scenario: "steady", URL: []string{"http://127.0.0.1:1"}, Durations: 1, Load: 1, Verify: 1,
		Every: time.Second,
	}
	for want, change := range map[string]func(*runCmd){
		"shipped are":         func(c *runCmd) { c.Scenario = "no-such" },
		"above 0":             func(c *runCmd) { c.Durations = 0 },
		"above the bound":     func(c *runCmd) { c.Load = 1e6 },
		"--url or --embedded": func(c *runCmd) { c.Embedded = true },
		"is not http":         func(c *runCmd) { c.URL = []string{"ftp://x"} },
		"not an IP address":   func(c *runCmd) { c.Source = []string{"here"} },
		"exclude each other":  func(c *runCmd) { c.TokenFile, c.JWTKeyFile = "a", "b" },
		"verify is 0 to 1":    func(c *runCmd) { c.Verify = 2 },
	} {
		c := fine
		c.Out = filepath.Join(t.TempDir(), "out")
		change(&c)
		if err := c.Run(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
