package jobtypes

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// file writes a file of job types, and others beside it by name and content.
func file(t *testing.T, content string, beside ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(beside); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, beside[i]), []byte(beside[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(dir, "types.yaml")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t *testing.T, content string, beside ...string) Set {
	t.Helper()
	set, err := Load(file(t, content, beside...))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Without a file there are the demo types, each with a schema, three attempts and a first backoff of 0.2 s.
func TestDefaultTypes(t *testing.T) {
	set, err := Load("")
	if err != nil {
		t.Fatal(err)
	}
	for _, demo := range []struct{ name, good, bad string }{
		{"demo.echo", `{"any":["thing"]}`, ``},
		{"demo.sleep", `{"seconds":2,"steps":10}`, `{"seconds":"2"}`},
		{"demo.flaky", `{"failures":2}`, `{}`},
		{"demo.fail", `{"message":"no"}`, `{"message":1}`},
		{"demo.write", `{"words":300,"rate":50}`, `{"words":-1}`},
		{"demo.panic", `{}`, `[]`},
		{
			"report.generate", `{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`,
			`{"reportType":"sales","from":"2026-01-01","to":"2026-02-30"}`,
		},
	} {
		got := set[demo.name]
		if got == nil {
			t.Errorf("no %s", demo.name)
			continue
		}
		p := got.Policy
		if got.payload == nil || p.Attempts != 3 || p.Backoff.Initial.Duration() != 200*time.Millisecond {
			t.Errorf("%s: %+v", demo.name, got)
		}
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", demo.name, err)
		}
		if got.Name != demo.name || got.MaxPayload != frame.MaxFrameBytes {
			t.Errorf("%s: name %q, %d bytes", demo.name, got.Name, got.MaxPayload)
		}
		if err := got.Validate([]byte(demo.good)); err != nil {
			t.Errorf("%s %s: %v", demo.name, demo.good, err)
		}
		if demo.bad != "" && got.Validate([]byte(demo.bad)) == nil {
			t.Errorf("%s took %s", demo.name, demo.bad)
		}
	}
	if lanes := set.Lanes(); !slices.Equal(lanes, []string{"default", "reports", "webhooks"}) {
		t.Errorf("lanes %q", lanes)
	}
}

// A type's own setting takes precedence over the defaults, and these over the built-in ones.
func TestWhoseRuleApplies(t *testing.T) {
	set := load(t, `
defaults:
  lane: slow
  attempts: 5
  backoff: {initial: 2, cap: 90s}
  lease: 1.5
  deadline: 1h30m
  schema: {type: object}
types:
  plain:
  own:
    lane: quick
    attempts: 1
    backoff: {initial: 500ms, factor: 1.5}
    lease: "5s"
    timeout: 0.25
    grace: 0
    retention: 876000h
    schema: true
    maxPayload: 10
    streamLimit: 1000
    streamRate: 2048
`)
	const second = job.Seconds(time.Second)
	for name, want := range map[string]Type{
		"plain": {Lane: "slow", MaxPayload: frame.MaxFrameBytes, Policy: job.Policy{
			Attempts: 5, Backoff: job.Backoff{Initial: 2 * second, Factor: 2, Cap: 90 * second},
			Lease: second * 3 / 2, Deadline: 5400 * second, Grace: 10 * second, Retention: 86400 * second,
		}},
		"own": {Lane: "quick", MaxPayload: 10, Policy: job.Policy{
			Attempts: 1, Backoff: job.Backoff{Initial: second / 2, Factor: 1.5, Cap: 90 * second},
			Lease: 5 * second, Timeout: second / 4, Deadline: 5400 * second, Retention: job.MaxSeconds * second,
		}},
	} {
		got := set[name]
		if got == nil || got.Lane != want.Lane || got.MaxPayload != want.MaxPayload || got.Policy != want.Policy {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	for name, want := range map[string][2]int64{"plain": {}, "own": {1000, 2048}, "none": {}} {
		if total, perSecond := set.StreamLimits(name); total != want[0] || perSecond != want[1] {
			t.Errorf("%s: streams of %d bytes, %d per second", name, total, perSecond)
		}
	}
	if set["plain"].Validate([]byte(`1`)) == nil {
		t.Error("the default schema does not apply")
	}
	if err := set["own"].Validate([]byte(`1`)); err != nil {
		t.Errorf("the own schema: %v", err)
	}
	if lanes := set.Lanes(); !slices.Equal(lanes, []string{"quick", "slow", "webhooks"}) {
		t.Errorf("lanes %q", lanes)
	}
}

// A bad file is refused as a whole, with its name, the line, and the reason.
func TestBadFiles(t *testing.T) {
	for _, bad := range []struct {
		what, content string
		line          string
		reason        string
	}{
		{"an empty file", "", ":1:", "at least one job type"},
		{"a comment", "# nothing\n", ":1:", "at least one job type"},
		{"no types", "defaults: {lane: x}\ntypes: {}\n", ":2:", "at least one job type"},
		{"not YAML", "types:\n  a: {\n", "[2:", "flow map"},
		{"a tab", "types:\n\ta: {}\n", "[2:", "cannot start any token"},
		{"a word", "hello", "[1:1]", "mapping is expected"},
		{"a list", "[]", "[1:1]", "mapping is expected"},
		{"JSON of something else", `{"openapi":"3.1.0"}`, "[1:", `unknown field "openapi"`},
		{"a list of types", "types: [a]\n", "[1:8]", "mapping is expected"},
		{"a type that is a number", "types:\n  a: 5\n", "[2:6]", "mapping is expected"},
		{"a second document", "types:\n  a: {}\n---\ntypes:\n  b: {}\n", ":4:", "second YAML document"},
		{"an unknown key", "version: 2\ntypes:\n  a: {}\n", "[1:1]", `unknown field "version"`},
		{"an unknown key of a type", "types:\n  a:\n    lanes: x\n", "[3:5]", `unknown field "lanes"`},
		{"an unknown key of the defaults", "defaults:\n  max: 1\ntypes:\n  a: {}\n", "[2:3]", `unknown field "max"`},
		{"an unknown key of a backoff", "types:\n  a:\n    backoff:\n      jitter: 1\n", "[4:7]", `unknown field "jitter"`},
		{"a key in capitals", "types:\n  a: {Lane: x}\n", "[2:7]", `unknown field "Lane"`},
		{"a type twice", "types:\n  a: {}\n  a: {}\n", "[3:3]", "already defined"},
		{"a key twice", "types:\n  a:\n    lane: x\n    lane: y\n", "[4:5]", "already defined"},
		{"a name with a space", "types:\n  a b:\n    lane: x\n", ":3:", "visible ASCII"},
		{"a name in Greek", "types:\n  α: {}\n", ":2:", "visible ASCII"},
		{"an empty name", "types:\n  '': {}\n", ":2:", "visible ASCII"},
		{"a long name", "types:\n  " + strings.Repeat("x", 129) + ": {}\n", ":2:", "visible ASCII"},
		{"a bad lane", "types:\n  a:\n    attempts: 1\n    lane: Bad Lane\n", ":4:", `"Bad Lane" is not a lane name`},
		{"an empty lane", "types:\n  a:\n    lane: ''\n", ":3:", `"" is not a lane name`},
		{"a long lane", "types:\n  a:\n    lane: " + strings.Repeat("x", 64) + "\n", ":3:", "is not a lane name"},
		{"a lane with a dot", "types:\n  a:\n    lane: a.b\n", ":3:", "is not a lane name"},
		{"negative attempts", "types:\n  a:\n    lane: x\n    attempts: -1\n", ":4:", "1 to 1000, not -1"},
		{"no attempts", "types:\n  a:\n    attempts: 0\n", ":3:", "1 to 1000, not 0"},
		{"too many attempts", "types:\n  a:\n    attempts: 1001\n", ":3:", "1 to 1000, not 1001"},
		{"half an attempt", "types:\n  a:\n    attempts: 1.5\n", ":3:", `"1.5" is not a whole number`},
		{"attempts in words", "types:\n  a:\n    attempts: many\n", ":3:", `"many" is not a whole number`},
		{"a duration in words", "types:\n  a:\n    lane: x\n    lease: soon\n", ":4:", `"soon" is not a duration`},
		{"a duration in days", "types:\n  a:\n    retention: 7d\n", ":3:", `"7d" is not a duration`},
		{"a negative duration", "types:\n  a:\n    timeout: -5s\n", ":3:", "not between 0 and"},
		{"a negative number of seconds", "types:\n  a:\n    timeout: -5\n", ":3:", "not between 0 and"},
		{"a duration of 114 years", "types:\n  a:\n    retention: 1000000h\n", ":3:", "not between 0 and"},
		{"as many seconds", "types:\n  a:\n    retention: 3600000000\n", ":3:", "not between 0 and"},
		{"an endless duration", "types:\n  a:\n    deadline: .inf\n", ":3:", "is not a duration"},
		{"a duration that no float holds", "types:\n  a:\n    deadline: 1e400\n", ":3:", "is not a duration"},
		{"a list of durations", "types:\n  a:\n    lease: [1]\n", ":3:", "is not a duration"},
		{"a bad first backoff", "types:\n  a:\n    backoff:\n      factor: 2\n      initial: x\n", ":5:", "backoff.initial"},
		{"a bad cap", "types:\n  a:\n    backoff:\n      cap: -1\n", ":4:", "backoff.cap"},
		{"a factor below 1", "types:\n  a:\n    backoff:\n      factor: 0.5\n", ":4:", "1 to 100, not 0.5"},
		{"a factor above 100", "types:\n  a:\n    backoff: {factor: 101}\n", ":3:", "1 to 100, not 101"},
		{"a factor that is no number", "types:\n  a:\n    backoff: {factor: .nan}\n", ":3:", "1 to 100, not NaN"},
		{"a backoff that is a duration", "types:\n  a:\n    backoff: 5s\n", "[3:14]", "mapping is expected"},
		{"no lease", "types:\n  a:\n    lease: 0\n", ":3:", "lease: must be at least 1s"},
		{"a short lease", "types:\n  a:\n    lease: 999ms\n", ":3:", "lease: must be at least 1s"},
		{"no retention", "types:\n  a:\n    retention: 0\n", ":3:", "retention: must be at least 1s"},
		{"no payload", "types:\n  a:\n    maxPayload: 0\n", ":3:", "1 to 67108864 bytes, not 0"},
		{
			"a payload above all bounds", "types:\n  a:\n    maxPayload: 67108865\n", ":3:",
			"1 to 67108864 bytes, not 67108865",
		},
		{"streams above all bounds", "types:\n  a:\n    streamLimit: 1073741825\n", ":3:", "must be 1 to 1073741824 bytes"},
		{"streams that are too slow", "types:\n  a:\n    streamRate: 1023\n", ":3:", "must be 1024 to 67108864 bytes"},
		{"a payload in KiB", "types:\n  a:\n    maxPayload: 64KiB\n", ":3:", "is not a whole number"},
		{"a schema that is none", "types:\n  a:\n    lane: x\n    schema: 5\n", ":4:", "schema"},
		{"a schema of no type", "types:\n  a:\n    lane: x\n    schema: {type: strin}\n", ":4:", "value must be one of"},
		{"a bad pattern", "types:\n  a:\n    schema: {pattern: '('}\n", ":3:", "regex"},
		{
			"a reference into the net", "types:\n  a:\n    schema: {$ref: 'http://127.0.0.1/schema.json'}\n", ":3:",
			"references to other documents are not followed",
		},
		{
			"a reference to a file", "types:\n  a:\n    schema: {$ref: 'file:///etc/passwd'}\n", ":3:",
			"references to other documents are not followed",
		},
		{"a reference to nothing", "types:\n  a:\n    schema: {$ref: '#/$defs/x'}\n", ":3:", "$defs/x"},
		{"no such schema file", "types:\n  a:\n    lane: x\n    schemaFile: missing.json\n", ":4:", "missing.json"},
		{"a schema and a file", "types:\n  a:\n    schemaFile: missing.json\n    schema: {}\n", ":4:", "exclude each other"},
		{"a bad default", "defaults:\n  lane: x\n  lease: 0\ntypes:\n  a: {}\n", ":3:", "a: lease: must be at least 1s"},
	} {
		name := file(t, bad.content)
		set, err := Load(name)
		if err == nil || set != nil {
			t.Errorf("%s was taken", bad.what)
			continue
		}
		got := err.Error()
		if !strings.HasPrefix(got, name) || !strings.HasPrefix(strings.TrimLeft(got[len(name):], ": "),
			strings.TrimLeft(bad.line, ":")) || !strings.Contains(got, bad.reason) {
			t.Errorf("%s: want line %s and %q, got\n  %s", bad.what, bad.line, bad.reason, got)
		}
	}
}

func TestBadSchemaFiles(t *testing.T) {
	for what, content := range map[string]string{
		"an empty file": "", "not JSON": "type: object", "two values": "{} {}", "a schema of no type": `{"type":"strin"}`,
	} {
		name := file(t, "types:\n  a:\n    schemaFile: a.json\n", "a.json", content)
		if _, err := Load(name); err == nil || !strings.HasPrefix(err.Error(), name+":3: a: schemaFile: ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "missing.yaml")); err == nil ||
		!strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("a missing file: %v", err)
	}
}

// A schema file is found beside the file that names it.
func TestSchemaFile(t *testing.T) {
	set := load(t, "types:\n  a: {schemaFile: a.json}\n", "a.json", `{"type":"integer"}`)
	if err := set["a"].Validate([]byte("7")); err != nil {
		t.Error(err)
	}
	if set["a"].Validate([]byte(`"7"`)) == nil {
		t.Error("the schema does not apply")
	}
}

// All problems are reported at once, each with its own line.
func TestAllProblemsAreTold(t *testing.T) {
	name := file(t, "types:\n  b:\n    lane: B\n    lease: soon\n    attempts: x\n  a:\n    backoff: {initial: -1, "+
		"factor: 0}\n")
	_, err := Load(name)
	if err == nil {
		t.Fatal("taken")
	}
	var got []string
	for l := range strings.SplitSeq(err.Error(), "\n") {
		l, _, _ = strings.Cut(strings.TrimPrefix(l, name+":"), ": must")
		got = append(got, strings.Join(strings.SplitN(l, ": ", 4)[:3], " "))
	}
	want := []string{"3 b lane", "4 b lease", "5 b attempts", "7 a backoff.factor", "7 a backoff.initial"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q from\n%v", got, want, err)
	}
}
