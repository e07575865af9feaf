package scan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func nested(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"k%d":{"k%d":%d},`, i, i, i)
	}
	return "{" + b.String() + `"end":0}`
}

var good = []string{
	`1`, `-0`, `0.5`, `12.5e-07`, `1E+99`, `null`, `true`, `false`, `""`, `"x"`, `[]`, `{}`, " {\n\t\"a\" : [ 1 , 2 ] }\r\n",
	`"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"`, `"é 😀"`, `"01234567\""`, `"0123456\u0000"`, "\"\x7f\"", `{"a":{"a":1},"b":[{"a":2}]}`,
	`["12345678","1234567é","é12345678"]`, nested(MaxNesting), members(5), members(40), `[` + members(17) + `,` + members(17) + `]`,
	"1" + strings.Repeat("0", maxNumber-1), `{"":0}`,
}

var bad = []string{
	``, ` `, `{`, `[`, `"`, `"a`, `"\`, `"\u`, `"\u00`, `"\u00g0"`, `"\x"`, "\"\n\"", "\"1234567\x1f\"", "\"\xff\"", "\"é\xff\"", "\"\x80\"", "\"01234567\x9f1234567\"",
	`01`, `-`, `1.`, `.5`, `1e`, `1e+`, `1e999`, `+1`, `NaN`, `nul`, `tru`, `falsch`, `1 2`, `{}{}`, `{"a"}`, `{"a":}`, `{"a":1,}`,
	`{,}`, `{1:2}`, `{a:1}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`, `]`, `}`, `[}`, `{]`, `[]]`, "\uFEFF1",
	`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud800x"`, `"\ud800\n"`, `{"\ud800":1}`, nested(MaxNesting + 1),
	`{"a":1,"a":2}`, `{"a":1,"b":{"c":1,"c":2}}`, `[{"x":0},{"x":1,"y":2,"x":3}]`, `{"":0,"":0}`,
	strings.Replace(members(40), `"end"`, `"k39"`, 1), strings.Replace(members(40), `"end"`, `"k0"`, 1),
	strings.Replace(members(17), `"end"`, `"k16"`, 1), strings.Replace(members(16), `"end"`, `"k3"`, 1),
}

func TestStrict(t *testing.T) {
	for _, s := range good {
		if !Strict([]byte(s)) || !sound([]byte(s)) {
			t.Errorf("%.80s is not accepted", s)
		}
	}
	for _, s := range bad {
		if Strict([]byte(s)) || s != `1e999` && sound([]byte(s)) {
			t.Errorf("%.80q is accepted", s)
		}
	}
	// These are sound, and left to others.
	for _, s := range []string{`{"\u0061":1}`, `1e-100`, "1" + strings.Repeat("0", maxNumber)} {
		if Strict([]byte(s)) || !sound([]byte(s)) {
			t.Errorf("%.80s", s)
		}
	}
}

// sound is strict JSON by the decoder of encoding/json.
func sound(b []byte) bool {
	if !json.Valid(b) || !utf8.Valid(b) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	depth := 0
	var names []map[string]bool // of the objects around; nil for an array
	var isName []bool
	for {
		token, err := d.Token()
		if err != nil {
			return true
		}
		last := len(names) - 1
		switch v := token.(type) {
		case json.Delim:
			switch v {
			case '{', '[':
				if last >= 0 {
					isName[last] = names[last] != nil
				}
				var object map[string]bool
				if v == '{' {
					object = map[string]bool{}
				}
				names, isName = append(names, object), append(isName, v == '{')
				depth++
				if depth > MaxNesting {
					return false
				}
			default:
				names, isName = names[:last], isName[:last]
				depth--
			}
			continue
		case json.Number:
			if _, err := strconv.ParseFloat(string(v), 64); err != nil {
				return false
			}
		case string:
			if strings.ContainsRune(v, utf8.RuneError) && !bytes.ContainsRune(b, utf8.RuneError) &&
				!bytes.Contains(bytes.ToLower(b), []byte(`\ufffd`)) {
				return false // a surrogate
			}
			if last >= 0 && isName[last] {
				if names[last][v] {
					return false
				}
				names[last][v] = true
				isName[last] = false
				continue
			}
		}
		if last >= 0 {
			isName[last] = names[last] != nil
		}
	}
}

// rare is in JSON that may be sound and is not accepted all the same: escapes that may be in a name, and large numbers.
var rare = regexp.MustCompile(`\\|[eE][+-]?[0-9]{3}|[0-9.]{150}`)

// FuzzStrict: what is accepted is strict JSON, as encoding/json reads it, and strict JSON that is not rare is accepted.
// A value is compact if encoding/json has nothing to remove.
func FuzzStrict(f *testing.F) {
	for _, s := range append(good, bad...) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		accepted, isSound := Strict(b), sound(b)
		if accepted && !isSound {
			t.Fatalf("%q is accepted", b)
		}
		if !accepted && isSound && !rare.Match(b) {
			t.Fatalf("%q is not accepted", b)
		}
		if !accepted {
			return
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, b); err != nil {
			t.Fatal(err)
		}
		if isCompact := compact.Len() == len(b); isCompact != Compact(b) {
			t.Fatalf("%q: compact %t", b, isCompact)
		}
	})
}

// FuzzInteger: a number that is read is the number that strconv reads, and its end is the number's.
func FuzzInteger(f *testing.F) {
	for _, s := range []string{"0", "-0", "7,", "-12 ", "999999999999999999", "9223372036854775807",
		"01", "1.5", "1e3", "-", "+1"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n, end, ok := Integer(b, 0)
		digits := regexp.MustCompile(`^-?(0|[1-9][0-9]*)`).Find(b)
		more := len(digits) < len(b) && b[len(digits)] >= '0' && b[len(digits)] <= '9'
		want, err := strconv.ParseInt(string(digits), 10, 64)
		if ok && (err != nil || n != want || end != len(digits) || more) {
			t.Fatalf("%q is %d, of %d bytes", b, n, end)
		}
		if !ok && err == nil && !more && len(digits) < maxDigits {
			t.Fatalf("%q is not read", b)
		}
		stop, isNumber := Number(b, 0)
		if isNumber && !json.Valid(b[:stop]) {
			t.Fatalf("%q is no number", b[:stop])
		}
	})
}
