package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestTypesCommand: the types go to stdout or to a file; a file of job types that is wrong is refused with its line.
func TestTypesCommand(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	types := file("types.yaml", "types:\n  mail.send: {resultSchema: {type: string}}\n")
	broken := file("broken.yaml", "types:\n  mail.send: {resultSchema: 5}\n")
	out := filepath.Join(dir, "ackwire.d.ts")
	run := func(args ...string) (code int, stdout, stderr string) {
		var cmds struct {
			Types TypesCmd `cmd:""`
		}
		parser, err := kong.New(&cmds, kong.Exit(func(int) { t.Fatal("kong exits") }))
		if err != nil {
			t.Fatal(err)
		}
		var o, e bytes.Buffer
		env := &Env{Context: t.Context(), Stdout: &o, Stderr: &e}
		parsed, err := parser.Parse(append([]string{"types"}, args...))
		if err == nil {
			err = parsed.Run(env)
		}
		return Report(env, err), o.String(), e.String()
	}
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string
	}{
		{[]string{"--ts", "--jobs", types}, 0, "\"mail.send\": {\n      payload: unknown;\n      result: string;", ""},
		{[]string{"--ts"}, 0, `"report.generate": {`, ""},
		{[]string{"--ts", "--jobs", types, "-o", out}, 0, "", ""},
		{[]string{"--jobs", types}, ExitRefused, "", "say which language"},
		{[]string{"--ts", "--jobs", broken}, ExitRefused, "", "broken.yaml:2: mail.send: resultSchema: "},
		{[]string{"--ts", "--jobs", filepath.Join(dir, "missing")}, ExitRefused, "", "missing"},
		{[]string{"--ts", "-o", filepath.Join(dir, "no", "folder")}, ExitRefused, "", "write types"},
	} {
		code, stdout, stderr := run(c.args...)
		if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) ||
			(c.stdout == "") != (stdout == "") || (c.stderr == "") != (stderr == "") {
			t.Errorf("%v: %d\n%s\n%s", c.args, code, stdout, stderr)
		}
	}
	b, err := os.ReadFile(out)
	if err != nil || !strings.Contains(string(b), `"mail.send"`) {
		t.Errorf("the file holds %q, %v", b, err)
	}
}
