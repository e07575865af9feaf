package text_test

import (
	"testing"

	"github.com/ackwire/ackwire/schemas/text"
)

func TestClip(t *testing.T) {
	for _, c := range []struct {
		in   string
		n    int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"", 0, ""}, {"a", 0, ""},
		{"aéé", 4, "aé"}, {"é", 1, ""}, {"\U0001F600", 3, ""},
		{"\xff", 3, "\uFFFD"}, {"\xff", 2, ""}, {"\xff\xffa\xff", 8, "\uFFFDa\uFFFD"}, {"ab\xff", 4, "ab"},
	} {
		if got := text.Clip(c.in, c.n); got != c.want {
			t.Errorf("%q to %d bytes: %q, want %q", c.in, c.n, got, c.want)
		}
	}
}
