package external

import (
	"net/url"
	"testing"
)

// Decoding a header's value gives the original value, even if that looks encoded.
func FuzzHeaderValue(f *testing.F) {
	for _, s := range []string{"alice", "a b", "100%", "100%25", "größe", `"q"`, "a+b", "a\r\nb", "\xff", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := headerValue(s)
		for i := range len(v) {
			if v[i] <= ' ' || v[i] > '~' {
				t.Fatalf("%q: %q is no header", s, v)
			}
		}
		if got, err := url.PathUnescape(v); err != nil || got != s {
			t.Errorf("%q: %q decodes to %q, %v", s, v, got, err)
		}
	})
}
