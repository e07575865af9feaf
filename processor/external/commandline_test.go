package external

import (
	"slices"
	"strings"
	"testing"

	"github.com/mattn/go-shellwords"
)

func TestWords(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string // nil: refused
		says string
	}{
		{line: "python3 count.py --fast", want: []string{"python3", "count.py", "--fast"}},
		{line: "  sh -c 'a | b > c; d & e'  ", want: []string{"sh", "-c", "a | b > c; d & e"}},
		{line: `awk '{print $1}' "a;b" c\|d`, want: []string{"awk", "{print $1}", "a;b", "c|d"}},
		{line: `printf "100$ %s" ''`, want: []string{"printf", "100$ %s", ""}},
		{line: "ls *.csv", want: []string{"ls", "*.csv"}},
		{line: "cmd a | b", says: "|"},
		{line: "cmd a|b", says: "|"},
		{line: "cmd a && b", says: "&"},
		{line: "cmd &", says: "&"},
		{line: "cmd; other", says: ";"},
		{line: "cmd < in", says: "<"},
		{line: "cmd > out", says: ">"},
		{line: "cmd 2>&1", says: ">"},
		{line: "cmd (a)", says: "("},
		{line: "cmd $HOME", says: "$H"},
		{line: `cmd "$HOME"`, says: "$H"},
		{line: "cmd ${HOME}", says: "${"},
		{line: "cmd $(date)", says: "$("},
		{line: `cmd "$(date)"`, says: "$("},
		{line: "cmd `date`", says: "`"},
		{line: "cmd $1", says: "$1"},
		{line: "cmd 'open", says: "cannot be split"},
		{line: `cmd \`, says: "cannot be split"},
		{line: " ", says: "no command"},
		{line: "''", says: "no command"},
	} {
		got, err := Words(c.line)
		switch {
		case c.want != nil && (err != nil || !slices.Equal(got, c.want)):
			t.Errorf("%q: %q, %v, want %q", c.line, got, err, c.want)
		case c.want == nil && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: %q, %v, want an error that says %q", c.line, got, err, c.says)
		}
	}
}

// FuzzWords: a command that is accepted is read to its end, and its words, quoted and separated by blanks, are the same
// command.
func FuzzWords(f *testing.F) {
	for _, line := range []string{"a b", "a|b", `a "b c" 'd'`, `a\ b`, "a $b", "a `b`", "a 2>b", `a "\"b|" c`,
		"a 'b\\' c|d"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		argv, err := Words(line)
		if err != nil {
			return
		}
		p := shellwords.NewParser()
		if _, err := p.Parse(line); err != nil || p.Position >= 0 {
			t.Fatalf("%q was cut at %d, %v", line, p.Position, err)
		}
		quoted := make([]string, len(argv))
		for i, w := range argv {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		if again, err := Words(strings.Join(quoted, " ")); err != nil || !slices.Equal(again, argv) {
			t.Fatalf("%q is %q, and quoted %q, %v", line, argv, again, err)
		}
	})
}
