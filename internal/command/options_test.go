package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// settings are those of a made-up service.
type settings struct {
	ConfigFile
	Logging
	Slots int      `help:"Slots." default:"64"`
	Lanes []string `help:"Lanes." default:"default"`
	Name  string   `help:"Name."`
}

// parse reads args as a service's main does; file, if not empty, is its configuration.
func parse(t *testing.T, file string, args ...string) (s settings, err error) {
	t.Helper()
	if file != "" {
		name := filepath.Join(t.TempDir(), "ackwire.yaml")
		if err := os.WriteFile(name, []byte(file), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config="+name)
	}
	p, err := kong.New(&s, Options("thing", "A thing.")...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Parse(args)
	return s, err
}

func TestFlagsWinOverEnvironmentOverFileOverDefault(t *testing.T) {
	want := func(what string, slots int, file string, args ...string) {
		t.Helper()
		s, err := parse(t, file, args...)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if s.Slots != slots {
			t.Errorf("%s: got %d, want %d", what, s.Slots, slots)
		}
	}
	want("the default", 64, "")
	want("the file wins over the default", 3, "slots: 3\n")
	want("a flag wins over the file", 1, "slots: 3\n", "--slots=1")
	t.Setenv("ACKWIRE_SLOTS", "2")
	want("the environment wins over the default", 2, "")
	want("the environment wins over the file", 2, "slots: 3\n")
	want("a flag wins over both", 1, "slots: 3\n", "--slots=1")
}

func TestTheEnvironmentNamesTheFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ackwire.yaml")
	if err := os.WriteFile(name, []byte("slots: 3\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("ACKWIRE_CONFIG", name)
	if s, err := parse(t, ""); err != nil || s.Slots != 3 {
		t.Errorf("got %d, %v", s.Slots, err)
	}
}

func TestAFileHoldsListsAndMayBeEmpty(t *testing.T) {
	for _, file := range []string{"lanes: [reports, video]\n", "lanes:\n  - reports\n  - video\n",
		"lanes: reports,video\n"} {
		if s, err := parse(t, file); err != nil || strings.Join(s.Lanes, " ") != "reports video" {
			t.Errorf("%q: %q, %v", file, s.Lanes, err)
		}
	}
	if s, err := parse(t, "# nothing yet\n"); err != nil || s.Slots != 64 {
		t.Errorf("a file of comments: %d, %v", s.Slots, err)
	}
}

// Whatever is wrong is told in one line that says where.
func TestWrongUsage(t *testing.T) {
	for _, c := range []struct {
		name, file string
		args       []string
		want       []string
	}{
		{"an unknown flag", "", []string{"--nonsense"}, []string{"--nonsense"}},
		{"a stray word", "", []string{"nonsense"}, []string{"nonsense"}},
		{"a value of another type", "", []string{"--slots=many"}, []string{"--slots", "many"}},
		{"a value that is not one of those", "", []string{"--log-format=xml"}, []string{"--log-format", "xml"}},
		{"a level that does not exist", "", []string{"--log-level=loud"}, []string{"--log-level", "loud"}},
		{"no such file", "", []string{"--config=missing.yaml"}, []string{"missing.yaml"}},
		{"an unknown key", "slots: 3\n\n# more\nslot: 4\n", nil, []string{"ackwire.yaml: line 4: unknown key \"slot\""}},
		{"unknown keys", "b: 1\nslots: 3\na: 1\n", nil, []string{"line 1: unknown key \"b\"; line 3: unknown key \"a\""}},
		{"a key twice", "slots: 3\nslots: 4\n", nil, []string{"ackwire.yaml", "2:1", "slots"}},
		{"no mapping", "- slots\n", nil, []string{"ackwire.yaml", "1:1"}},
		{"no YAML", "slots: [3\nlanes: }\n", nil, []string{"ackwire.yaml", "["}},
		{"a file's value of another type", "slots: many\n", nil, []string{"--slots", "many"}},
		{"a key without a value", "slots:\n", nil, []string{"line 1: key \"slots\" has no value"}},
		{"what only a command line asks for", "version: true\nhelp: true\nreference: true\nconfig: other.yaml\n", nil,
			[]string{
				"line 1: \"version\" is for the command line only", "line 2: \"help\"", "line 3: \"reference\"",
				"line 4: \"config\""}},
		{"a list where one value should be", "name: [a, b]\n", nil, []string{"--name", "line 1: a list"}},
		{"a mapping where a value should be", "slots: {a: 1}\n", nil, []string{"--slots"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(t, c.file, c.args...)
			if err == nil {
				t.Fatal("accepted")
			}
			var code int
			line := stderr(t, func() { code = Fail("thing", err) })
			if code != ExitUsage {
				t.Errorf("exit code %d, want %d", code, ExitUsage)
			}
			if !strings.HasPrefix(line, "thing: ") || strings.Count(line, "\n") != 1 {
				t.Errorf("not one line: %q", line)
			}
			for _, w := range c.want {
				if !strings.Contains(line, w) {
					t.Errorf("%q does not say %q", line, w)
				}
			}
		})
	}
}

func TestHelpNamesTheExitCode(t *testing.T) {
	var s settings
	var out bytes.Buffer
	exited := -1
	p, err := kong.New(&s, append(Options("thing", "A thing."), kong.Writers(&out, &out),
		kong.Exit(func(code int) { exited = code }))...)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = p.Parse([]string{"--help"})
	if exited != 0 || !strings.Contains(out.String(), "exit code 2") || !strings.Contains(out.String(), "$ACKWIRE_SLOTS") {
		t.Errorf("exit code %d, help:\n%s", exited, &out)
	}
}

func TestLogging(t *testing.T) {
	var out bytes.Buffer
	s, err := parse(t, "", "--log-level=warn", "--log-format=json")
	if err != nil {
		t.Fatal(err)
	}
	log := s.Logger(&out)
	log.Info("below the level")
	log.Warn("said", "job", "a")
	if got := out.String(); strings.Contains(got, "below") || !strings.Contains(got, `"msg":"said","job":"a"`) {
		t.Errorf("logged %q", got)
	}
}

// stderr returns what f writes there.
func stderr(t *testing.T, f func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	old := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = old }()
	f()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
