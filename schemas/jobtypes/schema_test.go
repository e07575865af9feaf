package jobtypes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

func problemOf(t *testing.T, err error) frame.Problem {
	t.Helper()
	var p frame.Problem
	if err != nil && !errors.As(err, &p) {
		t.Fatalf("%v is no frame.Problem", err)
	}
	return p
}

// Each place that does not fit is named by an RFC 6901 pointer into the payload.
func TestEveryWrongPlaceIsNamed(t *testing.T) {
	set := load(t, `
types:
  order:
    schema:
      type: object
      properties:
        "a/b": {type: integer}
        "m~n": {type: integer}
        "": {type: integer}
        items:
          type: array
          items:
            type: object
            properties: {count: {type: integer, minimum: 1}, sku: {type: string, pattern: "^[A-Z]+$"}}
            required: [sku]
        when: {type: string, format: date-time}
      required: [items]
      additionalProperties: false
`)
	for _, c := range []struct {
		payload  string
		pointers []string
	}{
		{`{"items":[]}`, nil},
		{`{"items":[{"sku":"A","count":1}],"a/b":1,"m~n":1,"":1,"when":"2026-01-01T00:00:00Z"}`, nil},
		{`{}`, []string{""}},
		{`[]`, []string{""}},
		{`null`, []string{""}},
		{`{"items":[],"x":1}`, []string{""}},
		{`{"items":{}}`, []string{"/items"}},
		{`{"items":[{"sku":"A"},{"count":0,"sku":"a"},{}]}`, []string{"/items/1/count", "/items/1/sku", "/items/2"}},
		{`{"items":[],"a/b":"1","m~n":"1","":"1"}`, []string{"/", "/a~1b", "/m~0n"}},
		{`{"items":[],"when":"yesterday"}`, []string{"/when"}},
		{`{"items":[],"a/b":1.5}`, []string{"/a~1b"}},
	} {
		p := problemOf(t, set["order"].Validate([]byte(c.payload)))
		if (p.Code == code.ValidationFailed) != (c.pointers != nil) {
			t.Errorf("%s: got %+v", c.payload, p)
		}
		var got []string
		for _, e := range p.Errors {
			got = append(got, e.Pointer)
			if e.Detail == "" {
				t.Errorf("%s: no detail at %s", c.payload, e.Pointer)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, c.pointers) {
			t.Errorf("%s: got %q, want %q", c.payload, got, c.pointers)
		}
	}
}

// A payload's limit is that of its type, to the byte, and is checked before anything is parsed.
func TestPayloadLimit(t *testing.T) {
	set := load(t, "types:\n  small: {maxPayload: 10}\n  large: {}\n")
	ten := []byte(`"12345678"`)
	if err := set["small"].Validate(ten); err != nil {
		t.Errorf("10 bytes: %v", err)
	}
	for _, tooLarge := range []string{`"123456789"`, `           `} {
		p := problemOf(t, set["small"].Validate([]byte(tooLarge)))
		if p.Code != code.PayloadTooLarge || p.Retryable || !strings.Contains(p.Detail, "small") ||
			!strings.Contains(p.Detail, "takes 10") {
			t.Errorf("11 bytes: %+v", p)
		}
	}
	if err := set["large"].Validate([]byte(`"123456789"`)); err != nil {
		t.Errorf("another type: %v", err)
	}
}

// A number of any size is answered at once. (The schema library computes with exact
// fractions: 1e999999 took it a tenth of a second, and 1e1000001 made it panic.)
func TestHugeNumbersAreAnswered(t *testing.T) {
	const bound = time.Minute // far below the time for a number that is written out
	set := load(t, `
types:
  list:
    schema:
      type: array
      items: {type: number, minimum: 0, multipleOf: 0.5}
`)
	var began = time.Now()
	for _, c := range []struct {
		number string
		code   code.Code
	}{
		{"1e308", ""},
		{"1.5", ""},
		{"0.25", code.ValidationFailed},
		{"-1", code.ValidationFailed},
		{"1e309", code.ValidationFailed},
		{"-1e309", code.ValidationFailed},
		{"1e999999", code.ValidationFailed},
		{"1e1000001", code.ValidationFailed},
		{"-1e99999999999999999999", code.ValidationFailed},
		{"1e-999999", ""},
		{"1e-1000001", ""},
		{"-1e-99999999999999999999", ""},
		{"0e999999", ""},
		{"0E1000001", ""},
	} {
		p := problemOf(t, set["list"].Validate([]byte("[0,"+c.number+"]")))
		if p.Code != c.code {
			t.Errorf("%s: got %+v", c.number, p)
		}
		if c.code != "" && (len(p.Errors) != 1 || p.Errors[0].Pointer != "/1") {
			t.Errorf("%s: errors %+v", c.number, p.Errors)
		}
	}
	const many = 20_000
	for _, number := range []string{"1e999999", "1e-999999", "1e1000001"} {
		_ = set["list"].Validate([]byte("[" + strings.Repeat(number+",", many) + "1]"))
	}
	if took := time.Since(began); took > bound {
		t.Errorf("took %s", took)
	}
}

// A payload that is wrong in many places, and long in one, gets a short answer.
func TestAnswersAreBounded(t *testing.T) {
	set := load(t, "types:\n  a:\n    schema: {type: [array, string], items: {type: string}, pattern: '^x*$'}\n  b:\n   "+
		" schema: {type: object, additionalProperties: false}\n")
	for what, err := range map[string]error{
		"many wrong":     set["a"].Validate([]byte("[" + strings.Repeat("1,", 1000) + "1]")),
		"many too large": set["a"].Validate([]byte("[" + strings.Repeat("1e400,", 1000) + "1]")),
		"a long value":   set["a"].Validate(fmt.Appendf(nil, "%q", strings.Repeat("é", 100_000))),
		"a long name":    set["b"].Validate(fmt.Appendf(nil, "{%q:1}", strings.Repeat("é", 100_000))),
	} {
		p := problemOf(t, err)
		if p.Code != code.ValidationFailed || len(p.Errors) == 0 || len(p.Errors) > maxFieldErrors {
			t.Errorf("%s: %s with %d errors", what, p.Code, len(p.Errors))
		}
		for _, e := range p.Errors {
			if n := utf8.RuneCountInString(e.Detail); n > maxDetailChars || !utf8.ValidString(e.Detail) {
				t.Errorf("%s: a detail of %d characters", what, n)
			}
		}
	}
}

// A payload that is not JSON never reaches a worker of a type with a schema. (Frames and bodies
// are checked before, too.)
func TestAPayloadThatIsNoJSON(t *testing.T) {
	for _, payload := range []string{``, `{`, `{} {}`, `nope`} {
		if p := problemOf(t, Default()["demo.echo"].Validate([]byte(payload))); p.Code != code.ValidationFailed {
			t.Errorf("%q: %+v", payload, p)
		}
	}
}

// A schema is used by many submits at once.
func TestConcurrentValidation(t *testing.T) {
	d := Default()["report.generate"]
	done := make(chan error)
	for range 8 {
		go func() {
			done <- d.Validate([]byte(`{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}`))
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
