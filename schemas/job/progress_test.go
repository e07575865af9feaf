package job

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestStages(t *testing.T) {
	for s, want := range map[string]bool{
		"a": true, "7": true, "collect": true, "upload.part-2_of_3": true, "a.": true,
		strings.Repeat("a", MaxStageChars): true,
		"":                                 false, strings.Repeat("a", MaxStageChars+1): false,
		"Collect": false, "-a": false, ".a": false, "_a": false,
		"a b": false, "a/b": false, "a\n": false, "a\x00": false, "é": false, "a\xff": false,
	} {
		if got := ValidStage(s); got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// nested returns arrays within each other.
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// text returns a JSON string of n bytes, its quotes included.
func text(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }

func TestProgressData(t *testing.T) {
	for _, c := range []struct{ what, data, want, err string }{
		{"an object", `{"rows":1804}`, `{"rows":1804}`, ""},
		{"null, which is a value", `null`, `null`, ""},
		{"a number that no float64 holds", `9007199254740993`, `9007199254740993`, ""},
		{"what HTML escapes", `"<&>` + "\u2028" + `"`, `"<&>` + "\u2028" + `"`, ""},
		{"white space", " { \"a\" :\n[ 1 , 2 ] }\t", `{"a":[1,2]}`, ""},
		{"as much as fits", text(MaxProgressData), text(MaxProgressData), ""},
		{"one byte more", text(MaxProgressData + 1), "", "has 4097 bytes, above the limit of 4096"},
		{"white space does not count", text(MaxProgressData) + strings.Repeat(" ", 1<<16), text(MaxProgressData), ""},
		{"as deep as may be", nested(100), nested(100), ""},
		{"deeper", nested(101), "", "is nested deeper than 100"},
		{"deeper than encoding/json reads", nested(1 << 20), "", "is not JSON"},
		{"nothing", ``, "", "is not JSON"},
		{"a word", `half`, "", "is not JSON"},
		{"two values", `1 2`, "", "is not JSON"},
		{"a key twice", `{"a":1,"\u0061":2}`, "", `has the key "a" twice`},
		{"a lone surrogate", `"\ud800"`, "", "has a lone surrogate"},
		{"not UTF-8", "\"\xff\"", "", "is not valid UTF-8"},
		{"a number out of range", `1e400`, "", "has a number that is out of range: 1e400"},
	} {
		got, err := CompactProgressData([]byte(c.data))
		said := ""
		if err != nil {
			said = err.Error()
		}
		if string(got) != c.want || said != c.err {
			t.Errorf("%s: %.100s, %q, want %.100s, %q", c.what, got, said, c.want, c.err)
		}
	}
}

func TestSettle(t *testing.T) {
	for _, c := range []struct {
		what, stage string
		data        json.RawMessage
		want, err   string
	}{
		{"neither", "", nil, "", ""},
		{"data of no bytes", "", json.RawMessage{}, "", ""},
		{"both", "collect", json.RawMessage(`{ "a": 1 }`), `{"a":1}`, ""},
		{"another stage", "Collect", json.RawMessage(`1`), "", `the stage "Collect" is not 1 to 64 of`},
		{"other data", "collect", json.RawMessage(`{`), "", "the data is not JSON"},
	} {
		p := Progress{Percent: 5, Stage: c.stage, Data: c.data}
		err := p.Settle()
		switch {
		case c.err == "" && (err != nil || p.Stage != c.stage || string(p.Data) != c.want || c.want == "" && p.Data != nil):
			t.Errorf("%s: %+v, %v", c.what, p, err)
		case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), c.err)):
			t.Errorf("%s: %v, want %s", c.what, err, c.err)
		case c.err != "" && (p.Stage != c.stage || string(p.Data) != string(c.data) || p.Percent != 5):
			t.Errorf("%s: refused, and changed to %+v", c.what, p)
		}
	}
}
