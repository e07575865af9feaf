package bench

import (
	"bytes"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/loadtest/measure"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/loadtest/profile"
	"github.com/ackwire/ackwire/loadtest/system"
)

// fineCapacity are settings that a few seconds are enough for. The bounds are out of reach, so that the machine's speed
// decides nothing.
func fineCapacity() CapacityConfig {
	return CapacityConfig{
		Bound: time.Minute, EndBound: time.Minute, From: 10, Most: 15, Precision: 0.5, Duration: time.Second,
		WarmUp: 200 * time.Millisecond, Sockets: 2, Packages: 3, Server: "no-such-binary",
	}
}

// holdsAll checks the report of a system that holds 10 and 15 jobs per second.
func holdsAll(t *testing.T, r CapacityReport, processes ...string) {
	t.Helper()
	if r.Rate != 15 || len(r.Steps) != 4 || len(r.Costs) != len(processes) {
		t.Fatalf("%+v", r)
	}
	for i, s := range r.Steps {
		if !s.Held || s.Profiled != (i == 3) || s.Ack.Count != int64(s.Rate) || s.Failed != 0 {
			t.Errorf("step %d: %+v", i, s)
		}
		for _, name := range processes {
			if _, ok := s.CPU[name]; !ok {
				t.Errorf("step %d: the CPU time of %s is missing", i, name)
			}
		}
	}
}

// The system is in this process and is measured as a running one.
func TestTheCapacityOfARunningSystem(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	sys, err := system.Start(t.Context(), kafka.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg := fineCapacity()
	cfg.URL, cfg.PID = []string{sys.URL}, map[string]int{"broker": os.Getpid()}
	r, err := Capacity(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	holdsAll(t, r, "clients", "broker")
	for _, s := range r.Steps {
		if s.End.Count != int64(s.Rate) {
			t.Errorf("%+v", s)
		}
	}

	cfg.Bound, cfg.From, cfg.Most = time.Nanosecond, 5, 5
	if r, err = Capacity(t.Context(), cfg, slog.New(slog.DiscardHandler)); err != nil || r.Rate != 0 || len(r.Costs) != 0 {
		t.Errorf("a bound that nothing keeps: %+v, %v", r, err)
	}
}

// The system is started in processes of its own, of which CPU time and profiles are read: in one on its embedded
// broker, and in one for each service on a given Kafka.
func TestTheCapacityOfASystemThatIsStarted(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("it reads /proc")
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../../embedded/cmd/ackwire",
		"../../gateway/cmd/gateway", "../../tracker/cmd/tracker", "../../processor/cmd/processor")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		t.Fatal(err)
	}
	cfg := fineCapacity()
	cfg.Server, cfg.Gateway = filepath.Join(dir, "ackwire"), filepath.Join(dir, "gateway")
	cfg.Tracker, cfg.Processor = filepath.Join(dir, "tracker"), filepath.Join(dir, "processor")
	profiled := func(r CapacityReport, err error, processes ...string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		holdsAll(t, r, append(processes, "clients")...)
		for _, c := range r.Costs {
			// So few jobs may use too little CPU time for a sample.
			if len(c.Packages) == 0 && !strings.Contains(c.Problem, "has no samples") {
				t.Errorf("%+v", c)
			}
		}
	}
	acks := cfg
	acks.AcksOnly = true
	r, err := Capacity(t.Context(), acks, slog.New(slog.DiscardHandler))
	profiled(r, err, "ackwire")

	sys, err := system.Start(t.Context(), kafka.Config{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := sys.Close(); err != nil {
			t.Error(err)
		}
	}()
	cfg.Kafka = sys.Kafka
	r, err = Capacity(t.Context(), cfg, slog.New(slog.DiscardHandler))
	profiled(r, err, "gateway", "tracker", "processor")
}

func TestCapacityRefusesWhatCannotBeMeasured(t *testing.T) {
	for want, change := range map[string]func(*CapacityConfig){
		"bound must be":               func(c *CapacityConfig) { c.Bound = 0 },
		"end-bound must not":          func(c *CapacityConfig) { c.EndBound = -1 },
		"from must be":                func(c *CapacityConfig) { c.From = math.NaN() },
		"most must not":               func(c *CapacityConfig) { c.Most = 1 },
		"precision must":              func(c *CapacityConfig) { c.Precision = 0 },
		"duration must be":            func(c *CapacityConfig) { c.Duration = time.Millisecond },
		"warm-up must not":            func(c *CapacityConfig) { c.WarmUp = -1 },
		"sockets must be":             func(c *CapacityConfig) { c.Sockets = 0 },
		"packages must not":           func(c *CapacityConfig) { c.Packages = -1 },
		"ops is for a running system": func(c *CapacityConfig) { c.Ops = map[string]string{"g": "http://127.0.0.1:1"} },
		"token-file is for a running": func(c *CapacityConfig) { c.TokenFile = "x" },
		"pid p must":                  func(c *CapacityConfig) { c.PID = map[string]int{"p": 0} },
		"no-such-binary":              func(*CapacityConfig) {},
		"have the name clients":       func(c *CapacityConfig) { c.PID, c.URL = map[string]int{"clients": 1}, []string{"x"} },
		"ops g:": func(c *CapacityConfig) {
			c.URL, c.Ops = []string{"x"}, map[string]string{"g": "host:1"}
		},
		"url and kafka exclude": func(c *CapacityConfig) { c.URL, c.Kafka.Brokers = []string{"x"}, []string{"y:1"} },
		"kafka-tls-key": func(c *CapacityConfig) {
			c.Kafka = kafka.Config{Brokers: []string{"x:1"}}
			c.Kafka.Security.KeyFile = "k"
		},
		"ended, or is not ready after": func(c *CapacityConfig) { c.Server = "false" },
	} {
		cfg := fineCapacity()
		change(&cfg)
		if _, err := Capacity(t.Context(), cfg, slog.New(slog.DiscardHandler)); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

// The services of a system on a given Kafka get its settings as flags: read again, they are the same.
func TestTheFlagsOfAKafka(t *testing.T) {
	args := []string{
		"--kafka", "a:1,b:2", "--kafka-compression", "lz4", "--kafka-tls", "--kafka-sasl", "plain", "--kafka-user", "u",
		"--kafka-oauth-scopes", "x,y", "--kafka-profile", "regional", "--kafka-dial-timeout", "3s",
	}
	parse := func(args []string) (cfg kafka.Config) {
		parser, err := kong.New(&cfg, kong.Vars{"kafka_help": ""})
		if err == nil {
			_, err = parser.Parse(args)
		}
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	cfg := parse(args)
	if again := parse(kafkaFlags(cfg)); !reflect.DeepEqual(again, cfg) {
		t.Errorf("%+v became %+v by %q", cfg, again, kafkaFlags(cfg))
	}
}

func TestPrintCapacity(t *testing.T) {
	latency := func(p50, p99 float64) measure.Summary { return measure.Summary{Count: 100, P50: p50, P99: p99} }
	step := func(rate, ackP99 float64, held bool, problem string) CapacityStep {
		return CapacityStep{
			Result: pace.Result{Rate: rate, Ack: latency(1.25, ackP99), End: latency(3, 12.5), Problem: problem},
			Held:   held, CPU: map[string]float64{"ackwire": 210, "clients": 61.5},
		}
	}
	r := CapacityReport{
		System: "embedded broker and services in one process", Cores: 2, Go: "go1.26", Sockets: 64, Ack: 50, End: 1000,
		Rate: 4000, Steps: []CapacityStep{
			step(4000, 20, true, ""), step(6000, 812.5, false, "the system is too far behind: 12000 jobs were open"),
			step(4000, 21, true, ""),
		},
		Costs: []ProcessCost{
			{Process: "ackwire", CPU: 210, Packages: []PackageCost{
				{Package: profile.Package{Name: "runtime (garbage collection)", Self: 0.2, Total: 0.2}, SelfCPU: 42, TotalCPU: 42},
				{Package: profile.Package{Name: "encoding/json", Self: 0.1, Total: 0.15}, SelfCPU: 21, TotalCPU: 31.5},
				{Package: profile.Package{Name: "main", Self: 0, Total: 0.8}},
			}},
			{Process: "clients", CPU: 61.5, Problem: "/debug/pprof/profile: 404 Not Found"},
		},
		packages: 2,
	}
	r.Steps[2].Profiled = true
	var out bytes.Buffer
	r.Print(&out)
	CapacityReport{System: "a slow one", Ack: 50, Steps: []CapacityStep{step(500, 812.5, false, "")}}.Print(&out)
	golden(t, "capacity.golden", out.String())
}
