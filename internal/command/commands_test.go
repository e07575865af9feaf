package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// commands are those of a made-up program, two of which have settings of other names for one thing.
type commands struct {
	ConfigFile
	Serve struct {
		Logging `embed:""`
		Sync    bool       `name:"kafka-sync"`
		Health  HealthFlag `env:"-"`
	} `cmd:"" default:"withargs"`
	Broker struct {
		Sync bool
		Data string
	} `cmd:""`
	Dead struct {
		Show struct {
			Data string
			ID   string `arg:""`
		} `cmd:""`
	} `cmd:""`
}

// A file's key that another command has would be taken and do nothing: it is refused, and each
// command takes its own.
func TestAFileIsOfOneCommand(t *testing.T) {
	for _, c := range []struct {
		name, file string
		args       []string
		want       string // of the error; empty: taken
	}{
		{"its own", "kafka-sync: true\nlog-level: warn\n", []string{"serve"}, ""},
		{"its own, of the command that needs no name", "kafka-sync: true\n", nil, ""},
		{"its own, with a position", "data: a\n", []string{"dead", "show", "x"}, ""},
		{
			"another command's", "log-level: warn\nsync: true\n", []string{"serve"},
			`line 2: key "sync" is not a setting here, but of "thing broker"`,
		},
		{
			"another command's, which needs no name", "kafka-sync: true\n", []string{"broker"},
			`line 1: key "kafka-sync" is not a setting here, but of "thing serve"`,
		},
		{"two other commands'", "data: a\n", []string{"serve"}, `but of "thing broker", "thing dead show"`},
		{"nobody's", "data: a\nsinc: true\n", []string{"broker"}, `line 2: unknown key "sinc"`},
		{"a question", "health: true\n", []string{"serve"}, `line 1: "health" is for the command line only`},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "ackwire.yaml")
			if err := os.WriteFile(name, []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
			var s commands
			p, err := kong.New(&s, Options("thing", "A thing.")...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = p.Parse(append(c.args, "--config="+name))
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
			if c.want == "" && !s.Serve.Sync && s.Broker.Data == "" && s.Dead.Show.Data == "" {
				t.Error("taken, but without an effect")
			}
		})
	}
}

// What a file's list holds is what the flag gets, whatever is in it.
func TestAListIsTakenAsItIs(t *testing.T) {
	for _, file := range []string{"lanes: [a, [b]]", "lanes: [a, {b: c}]", "lanes: [a, ]\nname: [b]", "lanes: [a, null]"} {
		if s, err := parse(t, file); err == nil {
			t.Errorf("%q: %q", file, s.Lanes)
		}
	}
	s, err := parse(t, `lanes: ["a,b", 'c\,d', e]`)
	if want := []string{"a,b", `c\,d`, "e"}; err != nil || strings.Join(s.Lanes, " ") != strings.Join(want, " ") {
		t.Errorf("%q, %v", s.Lanes, err)
	}
}

// A program is refused if a flag's environment variable is one that handlers are given.
func TestNoFlagHasAHandlersVariable(t *testing.T) {
	var clash struct {
		Do struct {
			JobID string
		} `cmd:""`
	}
	if _, err := kong.New(&clash, Options("thing", "A thing.")...); err == nil ||
		!strings.Contains(err.Error(), "ACKWIRE_JOB_ID") {
		t.Errorf("--job-id: %v", err)
	}
	var tagged struct {
		Tenant string `env:"OTHER,ACKWIRE_JOB_TENANT"`
	}
	if _, err := kong.New(&tagged, Options("thing", "A thing.")...); err == nil {
		t.Error("a flag by another variable's name was accepted")
	}
	var fine struct {
		JobTypes string
		Job      string
	}
	if _, err := kong.New(&fine, Options("thing", "A thing.")...); err != nil {
		t.Error(err)
	}
}
