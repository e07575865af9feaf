package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/loadtest/measure"
)

var update = flag.Bool("update", false, "write the golden files anew")

// example is a report with one goal met and one missed.
func example() Report {
	fill := func(name string, failed int, ms ...float64) Summary {
		l := measure.NewLatencies()
		for _, v := range ms {
			l.Record(time.Duration(v*float64(time.Millisecond)), nil)
		}
		s := summarise(name, l)
		s.Failed = failed
		return s
	}
	return Report{
		Broker: "embedded broker", Rate: 500, Cores: 2, Go: "go1.26",
		Results: []Pair{
			pair("ack", fill("two raw produces", 0, 0.4, 0.4, 0.4, 2), fill("submit to ack", 0, 0.5, 0.5, 0.5, 3.5)),
			pair("chain", fill("raw chain", 0, 1, 1, 1, 12), fill("submit to completed", 2, 2.5, 2.5, 2.5, 1234.5)),
		},
		Asked: [2]Load{
			{Name: "raw chain", Requests: map[string]float64{"fetch": 2, "produce": 4}, Produced: 4, Fetched: 4,
				Written: 2000, Read: 1800},
			{Name: "ours", Requests: map[string]float64{"fetch": 2.5, "produce": 4, "heartbeat": 0.01}, Produced: 4.5,
				Fetched: 4, Written: 3000, Read: 2700},
		},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed (go test -update, and look at the difference):\n%s", name, got)
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	example().Print(&out)
	golden(t, "report.golden", out.String())
}

func TestJSON(t *testing.T) {
	text, err := json.MarshalIndent(example(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json.golden", string(text)+"\n")
}

func TestRatioIsOursOverTheFloorAtP50(t *testing.T) {
	for _, c := range []struct{ floor, ours, want float64 }{
		{2, 3, 1.5}, {2, 1, 0.5}, {0.25, 1, 4},
	} {
		if p := pair("x", Summary{P50: c.floor}, Summary{P50: c.ours}); p.Ratio != c.want {
			t.Errorf("%v over %v is %v", c.ours, c.floor, p.Ratio)
		}
	}
}

// A side that measured nothing has no ratio, and no goal was met by it.
func TestNothingMeasuredMeetsNoGoal(t *testing.T) {
	for name, p := range map[string]Pair{
		"no floor":     pair("ack", summarise("floor", measure.NewLatencies()), Summary{Name: "ours", Count: 10, P50: 1}),
		"nothing ours": pair("ack", Summary{Name: "floor", Count: 10, P50: 1}, summarise("ours", measure.NewLatencies())),
	} {
		var out bytes.Buffer
		Report{Results: []Pair{p}}.Print(&out)
		if strings.Contains(out.String(), ": met") || !strings.Contains(out.String(), "not measured") {
			t.Errorf("%s:\n%s", name, out.String())
		}
		if _, err := json.Marshal(p); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A run that is broken off stops what it started and leaves no data behind.
func TestABrokenOffRunLeavesNothingBehind(t *testing.T) {
	for name, brokers := range map[string][]string{"embedded": nil, "another Kafka": {"127.0.0.1:1"}} {
		tmp := t.TempDir()
		t.Setenv("TMPDIR", tmp)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cfg := Config{Rate: 1, Duration: time.Second, Rounds: 1, Sockets: 1, Kafka: kafka.Config{Brokers: brokers}}
		if _, err := Run(ctx, cfg, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: a report of nothing", name)
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %v, %v", name, left, err)
		}
	}
}

func TestRunRefusesWhatCannotBeMeasured(t *testing.T) {
	fine := Config{Rate: 1, Duration: time.Second, Rounds: 1, Sockets: 1}
	for name, change := range map[string]func(*Config){
		"rate":     func(c *Config) { c.Rate = 0 },
		"duration": func(c *Config) { c.Duration = -1 },
		"rounds":   func(c *Config) { c.Rounds = 0 },
		"sockets":  func(c *Config) { c.Sockets = 0 },
	} {
		cfg := fine
		change(&cfg)
		if _, err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestVersionsRefusesWhatCannotBeMeasured(t *testing.T) {
	fine := VersionsConfig{Rate: 1, Duration: time.Second, Rounds: 1, Sockets: 1, Server: "no-such-binary"}
	for name, change := range map[string]func(*VersionsConfig){
		"rate":           func(c *VersionsConfig) { c.Rate = 0 },
		"duration":       func(c *VersionsConfig) { c.Duration = -1 },
		"rounds":         func(c *VersionsConfig) { c.Rounds = 0 },
		"sockets":        func(c *VersionsConfig) { c.Sockets = 0 },
		"no-such-binary": func(c *VersionsConfig) { c.Before = "no-such-binary" },
	} {
		cfg := fine
		change(&cfg)
		if _, err := Versions(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
