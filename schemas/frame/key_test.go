package frame

import (
	"errors"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	for _, c := range []struct {
		value, key string
		err        error
	}{
		{`"k1"`, "k1", nil},
		{`k1`, "k1", nil},
		{` "k1" `, "k1", nil},
		{"\tk1\t", "k1", nil},
		{`"a b"`, "a b", nil},
		{`"8e03978e-40d5-43dd-bc93-6894a57f9324"`, "8e03978e-40d5-43dd-bc93-6894a57f9324", nil},
		{`"a\"b"`, `a"b`, nil},
		{`"a\\b"`, `a\b`, nil},
		{`"\\\""`, `\"`, nil},
		{`"a,b;c=1"`, "a,b;c=1", nil},
		{`a,b;c=1`, "a,b;c=1", nil}, // bare keys are as they are
		{`a\b`, `a\b`, nil},
		{`schlüssel`, "schlüssel", nil},

		{``, "", errEmptyKey},
		{` `, "", errEmptyKey},
		{`""`, "", errEmptyKey},
		{`"`, "", errKeyOpen},
		{`"a`, "", errKeyOpen},
		{`"a\"`, "", errKeyOpen},
		{`"a\`, "", errKeyEscape},
		{`"a\b"`, "", errKeyEscape},
		{"\"a\tb\"", "", errKeyCharacters},
		{"\"a\x7fb\"", "", errKeyCharacters},
		{`"schlüssel"`, "", errKeyCharacters},
		{"\"a\xc3\"", "", errKeyNotUTF8},
		{"a\xffb", "", errKeyNotUTF8},
		{`"a";v=1`, "", errKeyParameters},
		{`"a";`, "", errKeyParameters},
		{`"a" ;v=1`, "", errKeyAfter},
		{`"a"b`, "", errKeyAfter},
		{`"a", "b"`, "", errKeyAfter}, // two headers that a proxy has joined
		{`a"`, "", errKeyQuote},
		{`a"b"`, "", errKeyQuote},
		{`'a"`, "", errKeyQuote},
	} {
		if key, err := ParseKey([]string{c.value}); key != c.key || !errors.Is(err, c.err) {
			t.Errorf("%q: %q, %v", c.value, key, err)
		}
	}
	if key, err := ParseKey(nil); key != "" || err != nil {
		t.Errorf("no header: %q, %v", key, err)
	}
	for _, values := range [][]string{{"a", "b"}, {"a", "a"}, {`"a"`, `"a"`}, {"", ""}} {
		if key, err := ParseKey(values); key != "" || !errors.Is(err, errManyKeys) {
			t.Errorf("%q: %q, %v", values, key, err)
		}
	}
}

// FuzzParseKey checks that what is read has one quoted form (RFC 9651 §4.1.6), from which the same is read, and that
// nothing but that form and bare keys is taken.
func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{`"k1"`, "k1", `"a\"b\\"`, `"a";v=1`, `"`, "a\"", "\"a\xff\"", `"a" "b"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := ParseKey([]string{value})
		if err != nil {
			if key != "" || !strings.HasPrefix(err.Error(), "Idempotency-Key ") {
				t.Fatalf("%q: %q, %v", value, key, err)
			}
			return
		}
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"`
		trimmed := strings.Trim(value, " \t")
		if key == "" || trimmed != quoted && (trimmed != key || strings.Contains(key, `"`)) {
			t.Fatalf("%q is taken as %q", value, key)
		}
		if strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) { // only a bare key may have these
			return
		}
		if again, err := ParseKey([]string{quoted}); again != key || err != nil {
			t.Fatalf("%q is %q, which quoted is %q, %v", value, key, again, err)
		}
	})
}
