package strict

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheck(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	var many []string
	for i := range 100 {
		many = append(many, fmt.Sprintf(`"k%d":{"k%d":1}`, i, i))
	}
	for _, good := range []string{
		`1`, `null`, `"x"`, ` {"a":{"a":[1,{"a":2}]},"b":"a","c":["a","a"]} `, `"\ud83d\ude00 \\ud800 😀"`, `9007199254740993`,
		`1e308`, `1e-400`,
		`"\"\\"`, deep(MaxNesting), "{" + strings.Join(many, ",") + "}", `{"":1,"\\":2}`, `{"a":"x:y,{}","b":1}`, "0." +
			strings.Repeat("1", 400),
	} {
		if err := Check([]byte(good)); err != nil {
			t.Errorf("%.60s: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		``: "not JSON", `{`: "not JSON", `1 2`: "not JSON", `NaN`: "not JSON", `01`: "not JSON",
		"\uFEFF{}": "byte order mark", "\"\xff\"": "UTF-8", "\"\xed\xa0\x80\"": "UTF-8",
		`"\ud800"`: "surrogate", `"\udc00"`: "surrogate", `"\ud800\ud800"`: "surrogate", `"\ud800x"`: "surrogate",
		`"\ud800\n"`: "surrogate", `{"\uDEAD":1}`: "surrogate",
		`1e400`: "range", `[-1e309]`: "range", `{"a":` + strings.Repeat("9", 400) +
			`}`: "range", `1e99999999999999999999`: "range",
		`{"a":1,"a":1}`: "twice", `[{"x":{"b":1,"\u0062":2}}]`: "twice", "{" + strings.Join(many, ",") +
			`,"k3":0}`: "twice", `{"a":{},"a":[]}`: "twice",
		deep(MaxNesting + 1): "deeper",
	} {
		if err := Check([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", bad, err, want)
		}
	}
}

func TestWholeNumbersAreIntegers(t *testing.T) {
	var got struct {
		A int
		B uint64
		C []int8
		D any
		E string
		F float64
	}
	in := `{"a":1.0,"b":1.8446744073709551615e19,"c":[1e2,-3.00,0.0,-0e5,120e-1],"d":2.0,"e":"1.0 \" 2.0","f":1.5}`
	if err := Unmarshal([]byte(in), &got); err != nil {
		t.Fatal(err)
	}
	if s := fmt.Sprint(got); s != `{1 18446744073709551615 [100 -3 0 0 12] 2 1.0 " 2.0 1.5}` {
		t.Errorf("got %s", s)
	}
	for _, bad := range []string{`{"a":1.5}`, `{"a":1e-1}`, `{"a":1e30}`, `{"a":1e99999999999999999999}`, `{"a":"1.0"}`,
		`{"c":[300.0]}`, `{"a":true}`} {
		if err := Unmarshal([]byte(bad), &got); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}

func TestExact(t *testing.T) {
	for _, same := range [][]string{
		{"1", "1.0", "10e-1", "0.1e1", "1E0", "1e+0"}, {"0", "-0", "0.0", "0e9", "-0.0E-5"}, {"-1200", "-12e2", "-1.2e3"},
	} {
		for _, n := range same {
			if Exact(n) != Exact(same[0]) {
				t.Errorf("%s is %s, %s is %s", n, Exact(n), same[0], Exact(same[0]))
			}
		}
	}
	seen := map[string]string{}
	for _, n := range []string{"1", "-1", "10", "0.1", "9007199254740992", "9007199254740993", "9007199254740993.5",
		"1e-400", "0", "1e-401"} {
		if was, ok := seen[Exact(n)]; ok {
			t.Errorf("%s and %s are taken for equal", n, was)
		}
		seen[Exact(n)] = n
	}
}

// FuzzCheck: JSON that passes is valid, and encoding/json decodes it without loss and encodes it to the same value.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\ud83d\ude00"]}`, `{"a":1,"a":2}`, `"\ud800"`, "\xff", `1e400`, `{"\"":1.0}`,
		`[]]`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if Check(b) != nil {
			return
		}
		if !json.Valid(b) || !utf8.Valid(b) {
			t.Fatalf("%q passes", b)
		}
		var v any
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatalf("%q passes and cannot be read: %v", b, err)
		}
		if strings.ContainsRune(fmt.Sprint(v), utf8.RuneError) && !strings.ContainsRune(string(b), utf8.RuneError) &&
			!strings.Contains(strings.ToLower(string(b)), `\ufffd`) {
			t.Fatalf("%q lost a character", b)
		}
		whole, _ := wholeNumbers(b)
		if err := Check(whole); err != nil {
			t.Fatalf("%q became %q: %v", b, whole, err)
		}
		var n json.Number
		if json.Unmarshal(b, &n) == nil {
			if f, err := strconv.ParseFloat(n.String(), 64); err == nil && f != 0 {
				if g, err := strconv.ParseFloat(Exact(n.String()), 64); err != nil || g != f {
					t.Fatalf("%s became %s", n, Exact(n.String()))
				}
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	doc := []byte(`{"rows":[` + strings.Repeat(`{"name":"Ada","n":12.5,"ok":true},`, 1000) + `{}]}`)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if err := Check(doc); err != nil {
			b.Fatal(err)
		}
	}
}
