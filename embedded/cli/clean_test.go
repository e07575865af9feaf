package cli

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/frame"
)

func statusOf(f frame.StatusFrame) ackwire.Status {
	st := ackwire.Status{Version: f.Version, Raw: f.Job}
	if err := json.Unmarshal(f.Job, &st.Document); err != nil {
		panic(err)
	}
	return st
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain äö 漢 🙂":                      "plain äö 漢 🙂",
		"two\nlines\r\n\tand":               "two lines   and",
		"\x1b[31mred\x1b[0m":                "red",
		"\x1b[38;2;1;2;3mx\x1b[?25l":        "x",
		"a\x1b]0;title\x07b\x1b]8;;u\x1b\\": "ab",
		"a\x1bP1;2|dcs\x1b\\b":              "ab",
		"a\u009b31mb\u009d0;t\u009cc":       "abc",
		"a\x1b]never ends":                  "a",
		"\x1b":                              "",
		"\x1b[":                             "",
		"\x1b[31\nm":                        "m",
		"\x1bcx\x1b\n":                      "x",
		"be\x07ll\x00\x7f\u0085":            "bell",
		"\u202eevil\u2066\u200f":            "evil",
		"\xff\xfe":                          "\ufffd\ufffd",
		"\x9b31m":                           "\ufffd31m",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mx\u009b1m\x1b]0;\x07")
	f.Fuzz(func(t *testing.T, s string) {
		got := clean(s)
		if !utf8.ValidString(got) || strings.IndexFunc(got, steers) >= 0 {
			t.Fatalf("clean(%q) = %q", s, got)
		}
	})
}

func TestHarmlessKeepsTheDocument(t *testing.T) {
	in := []byte("{\"a\":\"x\x7f\u009b\u202e\",\n\"b\":[1.50,\"\\u001b\"]}")
	out := harmless(in)
	if strings.IndexFunc(string(out), func(r rune) bool { return r != '\n' && steers(r) }) >= 0 {
		t.Errorf("got %q", out)
	}
	var a, b any
	if json.Unmarshal(in, &a) != nil || json.Unmarshal(out, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Errorf("another document: %q", out)
	}
}

func TestClip(t *testing.T) {
	if got := clip("äöüß", 3); got != "äö…" {
		t.Errorf("got %q", got)
	}
	if got := clip("äöü", 3); got != "äöü" {
		t.Errorf("got %q", got)
	}
}
