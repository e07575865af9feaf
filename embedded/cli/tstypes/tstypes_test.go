package tstypes

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/schemas/jobtypes"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shared is read by the tests of the JavaScript client, too: they check samples against what is written here.
const shared = "../../../clients/testdata/types"

// TestGolden: the file for all that a schema may say is as it was. The JavaScript client's test types.test.ts shows
// that the compiler takes it, and that it takes and refuses the right values.
func TestGolden(t *testing.T) {
	types, err := jobtypes.Load(filepath.Join(shared, "jobtypes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	got, file := Declare(types), filepath.Join(shared, "ackwire.d.ts")
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v; it is now (go test ./embedded/cli/tstypes -update writes it):\n%s", err, got)
	}
}

// TestTypes: what a schema says, in TypeScript.
func TestTypes(t *testing.T) {
	for _, c := range []struct{ schema, want string }{
		{`true`, `unknown`},
		{`false`, `never`},
		{`{}`, `unknown`},
		{`{"type":"string","format":"date","minLength":3,"pattern":"^a"}`, `string`},
		{`{"type":"integer"}`, `number`},
		{`{"type":["number","integer","null"]}`, `number | null`},
		{`{"type":"null"}`, `null`},
		{`{"enum":["a","b","a",1,1.0,-0.5,true,null]}`, `"a" | "b" | 1 | -0.5 | true | null`},
		{`{"type":"string","enum":["a",1,null]}`, `"a"`},
		{`{"enum":[]}`, `never`},
		{`{"const":1e400}`, `number`},
		{`{"const":{"a":[{}]}}`, `{ "a": [{ [name: string]: never }] }`},
		{`{"type":"array"}`, `unknown[]`},
		{`{"type":"array","items":{"type":["string","null"]}}`, `(string | null)[]`},
		{`{"type":"array","items":false}`, `[]`},
		{`{"type":"array","prefixItems":[{"type":"string"},{"type":["null","string"]}],"minItems":1}`,
			`[string, (string | null)?, ...unknown[]]`},
		{`{"type":"object"}`, `{ [name: string]: unknown; }`},
		{`{"type":"object","additionalProperties":false}`, `{ [name: string]: never; }`},
		{`{"type":"object","additionalProperties":{"type":"number"}}`, `{ [name: string]: number; }`},
		{`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":{"type":"number"}}`,
			`{ a?: string; [name: string]: number | string | undefined; }`},
		{`{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false,
			"patternProperties":{"b":{"type":"number"}}}`, `{ a?: string; [name: string]: number | string | undefined; }`},
		{`{"type":"object","properties":{"a":{"type":"string"}},"patternProperties":{"b":{"type":"number"}}}`,
			`{ a?: string; [name: string]: unknown; }`},
		{`{"type":"object","required":["b"],"additionalProperties":false}`, `{ b: unknown; }`},
		{`{"properties":{"a":{"type":"string"}}}`, `unknown`},
		{`{"anyOf":[{"type":"string"},{"type":"number"},{}]}`, `unknown`},
		{`{"anyOf":[{"type":"string"},false]}`, `string`},
		{`{"type":"string","allOf":[{"enum":["a","b"]},{"not":{"const":"a"}}]}`, `string & ("a" | "b")`},
		{`{"allOf":[{"type":"string"},false]}`, `never`},
		{`{"$ref":"https://example.com/x"}`, `unknown`},
		{`{"$ref":"#"}`, `T`},
		{`{"$ref":"#/nowhere"}`, `unknown`},
		{`{"$ref":"#/$defs/a","$defs":{"a":{"$id":"urn:x","type":"string"}}}`, `unknown`},
		{`{"$dynamicRef":"#a"}`, `unknown`},
		{`{"if":{"type":"string"},"then":{"const":"a"},"else":false}`, `unknown`},
		{`{"type":"object","description":"} | \" {","properties":{"a":{"description":"it's } | \"","type":"string"}},
			"additionalProperties":false,"anyOf":[{"required":["a"]}]}`,
			`{ /** it's } | " */ a?: string; } & { a: unknown; [name: string]: unknown; }`},
		{`{"$schema":"http://json-schema.org/draft-04/schema#","type":"string"}`, `unknown`},
	} {
		var schema any
		dec := json.NewDecoder(strings.NewReader(c.schema))
		dec.UseNumber()
		if err := dec.Decode(&schema); err != nil {
			t.Fatal(c.schema, err)
		}
		f := &file{names: map[string]bool{}}
		got := strings.Join(strings.Fields(f.root(schema, "t", 0).text), " ")
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.schema, got, c.want)
		}
	}
}

// TestNamesAreSafe: nothing that a file of job types says can end a literal or a comment.
func TestNamesAreSafe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "types.yaml")
	text := `
types:
  'a"};//': {schema: {description: "*/ } evil(); /*\u2028", type: object, properties: {"\"\n\u2028": {type: string}}}}
  __proto__: {schema: {$ref: "#/$defs/class", $defs: {class: {type: string}}}}
  .: {schema: {$ref: "#", type: string}}
  constructor: {}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	types, err := jobtypes.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	got := string(Declare(types))
	for _, want := range []string{
		`    "a\"};//": {`, `/** *\/ } evil(); /* */`, `"\"\n\u2028"?: string;`, `"__proto__": {`,
		"type ProtoPayloadClass = string;", "payload: string & Payload2;", "type Payload2 = string;",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in:\n%s", want, got)
		}
	}
}

// FuzzDeclare: any schema gives a type whose brackets, quotes and comments are closed, and the same one each time.
func FuzzDeclare(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a*/":{"$ref":"#","description":"*/"}},"anyOf":[{"$ref":"#"}]}`))
	f.Add([]byte(`{"$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"}]},"b":{"allOf":[{"$ref":"#/$defs/a"}]}},"$ref":"#/$defs/a"}`))
	f.Add([]byte(`{"type":["array","object"],"prefixItems":[true],"items":{"enum":[{"a":[null]}]},"minItems":1e9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var schema any
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.UseNumber()
		if dec.Decode(&schema) != nil {
			return
		}
		write := func() string {
			f := &file{names: map[string]bool{}}
			return f.root(schema, "t", 0).text + ";\n" + strings.Join(f.declared, "\n")
		}
		got := write()
		if again := write(); got != again {
			t.Fatalf("not the same again:\n%s\n%s", got, again)
		}
		if rest := closed(got); rest != "" {
			t.Fatalf("%q is open at the end of:\n%s", rest, got)
		}
	})
}

// closed reads TypeScript and returns what is still open at its end, or what closes what is not open.
func closed(text string) string {
	var open []byte
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '/':
			end := strings.Index(text[i:], "*/")
			if !strings.HasPrefix(text[i:], "/**") || end < 0 {
				return text[i:]
			}
			i += end + 1
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
				if i < len(text) && text[i] == '\n' {
					return `"`
				}
			}
			if i >= len(text) {
				return `"`
			}
		case '{', '[', '(':
			open = append(open, c)
		case '}', ']', ')':
			if len(open) == 0 || open[len(open)-1] != map[byte]byte{'}': '{', ']': '[', ')': '('}[c] {
				return text[i:]
			}
			open = open[:len(open)-1]
		}
	}
	return string(open)
}
