package frame

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestStreamsAreNamesOrCursors(t *testing.T) {
	got, err := ParseStreams([]byte(` ["tokens", {"stream":"rows","run":2,"at":7}, {"stream":"log","later":1}]`))
	want := []StreamRef{{Stream: "tokens"}, {Stream: "rows", Run: 2, At: 7}, {Stream: "log"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	none, err := ParseStreams([]byte(`[]`))
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("none: %+v, %v", none, err)
	}
	for _, c := range []struct{ in, want string }{
		{``, "not valid JSON"},
		{`["a"`, "not valid JSON"},
		{`[{"stream":"a","stream":"b"}]`, "not valid JSON"},
		{`null`, "must be a list"},
		{`"tokens"`, "must be a list"},
		{`[1]`, "neither a name nor"},
		{`[null]`, "neither a name nor"},
		{`[{"stream":1}]`, "neither a name nor"},
		{`[{"stream":"a","run":1.5}]`, "neither a name nor"},
		{`["Tokens"]`, "not the name of a stream"},
		{`[{}]`, "not the name of a stream"},
		{`[{"stream":"a","run":-1}]`, "no cursor"},
		{`[{"stream":"a","run":2147483648}]`, "no cursor"},
		{`[{"stream":"a","run":1,"at":-1}]`, "no cursor"},
		{`[{"stream":"a","at":1}]`, "without its run"},
		{`["a",{"stream":"a"}]`, "a twice"},
		{`["a","b","c","d","e","f","g","h","i"]`, "more than 8"},
	} {
		if refs, err := ParseStreams([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v, want %q", c.in, refs, err, c.want)
		}
	}
}

// FuzzParseStreams: what is taken is written and read as the same.
func FuzzParseStreams(f *testing.F) {
	f.Add([]byte(`["tokens",{"stream":"rows","run":2,"at":7}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		refs, err := ParseStreams(b)
		if err != nil {
			return
		}
		text, err := json.Marshal(refs)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseStreams(text); err != nil || !slices.Equal(again, refs) {
			t.Fatalf("%s is read again as %+v, %v", text, again, err)
		}
	})
}
