package scenario

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/loadtest/scenarios"
)

// The shipped scenarios are those that the documentation promises, and each can be read, also
// by the name of its file.
func TestShipped(t *testing.T) {
	want := "fan-in mixed-lanes ramp reconnect-storm slow-clients spike steady"
	if got := strings.Join(scenarios.Names(), " "); got != want {
		t.Errorf("shipped are %s", got)
	}
	for _, name := range scenarios.Names() {
		s, err := Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if s.Name != name || s.About == "" {
			t.Errorf("%s is named %q, about %q", name, s.Name, s.About)
		}
		if _, err := s.Scale(0.05, 0.02); err != nil {
			t.Errorf("%s, made small: %v", name, err)
		}
	}
}

const small = `name: small
jobs:
  - job: demo.echo
    payload: {text: "2026", n: 1, when: 2026-01-01}
phases:
  - duration: 1m
    rate: 10..20
`

func TestParse(t *testing.T) {
	s, err := Parse("small.yaml", []byte(small))
	if err != nil {
		t.Fatal(err)
	}
	j, p := s.Jobs[0], s.Phases[0]
	var payload map[string]any
	if err := json.Unmarshal(j.Payload, &payload); err != nil || payload["text"] != "2026" || payload["n"] != 1.0 {
		t.Errorf("payload %s, %v", j.Payload, err)
	}
	if s.Sockets != 1 || s.Tenants != 1 || s.ConnectOver != time.Second || s.EndsWithin != 30*time.Second ||
		s.DeliverWithin != 10*time.Second || s.Poisson {
		t.Errorf("defaults: %+v", s)
	}
	if j.Name != "demo.echo" || j.Weight != 1 || !j.Watch || j.Key || j.Get != 0 || j.Stream != 0 ||
		s.MineSockets() != 0 || j.Ends != "" {
		t.Errorf("a job's defaults: %+v", j)
	}
	if p.Name != "phase 1" || p.From != 10 || p.To != 20 || !p.Measured || p.Reconnect != nil || p.Arrivals() != 900 ||
		s.Duration() != time.Minute {
		t.Errorf("phase: %+v", p)
	}
}

// Every problem is told, with its line.
func TestProblemsHaveTheirLine(t *testing.T) {
	for _, c := range []struct{ old, text, want string }{
		{"name: small", "name: small\nsockets: many", "s.yaml:2: sockets"},
		{"name: small", "name: small\nsockets: 0", "s.yaml:2: sockets: must be 1 to 100000"},
		{"name: small", "name: small\nconnectOver: soon", "s.yaml:2: connectOver"},
		{"name: small", "name: small\narrivals: often", "s.yaml:2: arrivals"},
		{"name: small", "name: a b", "s.yaml:1: name"},
		{"name: small", "name: small\nslow:\n  sockets: 1", "s.yaml:3: slow.sockets"},
		{"name: small", "name: small\nsocks: 1", `unknown field "socks"`},
		{"name: small", "name: small\nsocks: 1", "[2:1]"},
		{"payload:", "watchers: 4\n    payload:", "s.yaml:4: jobs[0].watchers: 4 other"},
		{"payload:", "ends: soon\n    payload:", "s.yaml:4: jobs[0].ends"},
		{"payload:", "get: 1.5\n    payload:", "s.yaml:4: jobs[0].get"},
		{"payload:", "stream: often\n    payload:", "s.yaml:4: jobs[0].stream"},
		{"payload:", "output: 2\n    payload:", "s.yaml:4: jobs[0].output"},
		{"payload:", "output: 50%\n    watch: false\n    payload:", "s.yaml:4: jobs[0].output: only who watches"},
		{
			"job: demo.echo\n    payload: {text", "job: demo.write\n    payload: {words: -1, text",
			"s.yaml:4: jobs[0].payload: words",
		},
		{"name: small", "name: small\nmine: 101%", "s.yaml:2: mine"},
		{"payload:", "weight: 0\n    payload:", "s.yaml:3: jobs: the weights"},
		{"duration: 1m", "name: x", "s.yaml:6: phases[0].duration: is missing"},
		{"10..20", "10..fast", "s.yaml:7: phases[0].rate"},
		{"10..20", "1\n    reconnect: {at: 1s,\n      share: 120%}", "s.yaml:9: phases[0].reconnect.share"},
		{"10..20", "1\n    reconnect: {at: 2m}", "s.yaml:8: phases[0].reconnect.at"},
		{"10..20", "1\n---\nname: b", "a second YAML document"},
		{small, "name: a\nphases: [{duration: 1s, rate: 1}]\n", "jobs: 1 to 50"},
		{small, "name: a\njobs: [{job: demo.echo}]\n", "phases: 1 to 100"},
	} {
		text := strings.Replace(small, c.old, c.text, 1)
		if _, err := Parse("s.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v\n%s", c.want, err, text)
		}
	}
	_, err := Parse("s.yaml", []byte("name: a\nsockets: 0\ntenants: -1\n"+small[12:]))
	if err == nil || strings.Count(err.Error(), "s.yaml:") != 2 {
		t.Errorf("two problems: %v", err)
	}
}

// What demo.write writes is known to the checker.
func TestOutput(t *testing.T) {
	text := strings.Replace(small, "demo.echo\n", "demo.write\n    output: 5%\n", 1)
	for payload, words := range map[string]int{"{words: 7}": 7, "{}": 300} {
		s, err := Parse("s.yaml", []byte(strings.Replace(text, `{text: "2026", n: 1, when: 2026-01-01}`, payload, 1)))
		if err != nil || s.Jobs[0].Output != 0.05 || s.Jobs[0].Words != words {
			t.Errorf("%s: %+v, %v", payload, s, err)
		}
	}
	s, err := Load("mixed-lanes")
	if err != nil {
		t.Fatal(err)
	}
	if j := s.Jobs[len(s.Jobs)-1]; j.Output == 0 || j.Words == 0 {
		t.Errorf("%+v", j)
	}
}

// A share of the clients is one of them at least, however small the scenario is made.
func TestAShareOfTheClients(t *testing.T) {
	s, err := Load("steady")
	if err != nil {
		t.Fatal(err)
	}
	tenth, err := s.Scale(1, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	if s.Sockets != 200 || s.MineSockets() != 4 || tenth.MineSockets() != 1 || s.Jobs[0].Stream != 0.01 {
		t.Errorf("%d and %d of %d and %d sockets, streams for %v", s.MineSockets(), tenth.MineSockets(), s.Sockets,
			tenth.Sockets, s.Jobs[0].Stream)
	}
}

func TestLoad(t *testing.T) {
	name := filepath.Join(t.TempDir(), "own.yaml")
	if err := os.WriteFile(name, []byte(small), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(name); err != nil || s.Name != "small" {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := Load("no-such"); err == nil || !strings.Contains(err.Error(), "shipped are") {
		t.Errorf("%v", err)
	}
}

func TestScale(t *testing.T) {
	s, err := Load("slow-clients")
	if err != nil {
		t.Fatal(err)
	}
	half, err := s.Scale(0.5, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	if half.Sockets != 20 || half.Slow.Sockets != 2 || half.Phases[1].Duration != s.Phases[1].Duration/2 ||
		half.Phases[1].From != s.Phases[1].From*0.1 {
		t.Errorf("%+v", half)
	}
	if s.Sockets != 200 || s.Phases[1].From != 60 {
		t.Errorf("the original has changed: %+v", s)
	}
	if _, err := s.Scale(1, 10_000); err == nil {
		t.Error("two million sockets")
	}
}
