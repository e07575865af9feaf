package schemas_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ackwire/ackwire/schemas"
	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/frame"
)

// compiler knows every schema of this package by its ID.
func compiler(t *testing.T) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	err := fs.WalkDir(schemas.Files, "jsonschema", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := schemas.Files.ReadFile(name)
		if err != nil {
			return err
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		if err != nil {
			return err
		}
		id := schemas.Base + strings.TrimPrefix(name, "jsonschema/")
		if got := doc.(map[string]any)["$id"]; got != id {
			t.Errorf("%s has $id %v, want %s", name, got, id)
		}
		return c.AddResource(id, doc)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func compile(t *testing.T, c *jsonschema.Compiler, schema string) *jsonschema.Schema {
	t.Helper()
	s, err := c.Compile(schemas.Base + schema + ".json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parsed(t *testing.T, b []byte) any {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

// wantValid checks a document against the schema at that path below jsonschema.
func wantValid(t *testing.T, schema string, b []byte) {
	t.Helper()
	if err := compile(t, compiler(t), schema).Validate(parsed(t, b)); err != nil {
		t.Errorf("%s does not fit %s: %v", b, schema, err)
	}
}

// at returns what a schema file has at a JSON pointer.
func at(t *testing.T, file, pointer string) any {
	t.Helper()
	b, err := schemas.Files.ReadFile(path.Join("jsonschema", file))
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		v = v.(map[string]any)[key]
	}
	return v
}

func equalJSON(a, b any) bool { return reflect.DeepEqual(a, b) }

// document reads a YAML file of this package.
func document(t *testing.T, name string) map[string]any {
	t.Helper()
	b, err := schemas.Files.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := yaml.Unmarshal(b, &d); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	j, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return parsed(t, j).(map[string]any)
}

// TestMeta checks the two API documents against the schemas of their specifications.
func TestMeta(t *testing.T) {
	for file, meta := range map[string]string{"asyncapi.yaml": "asyncapi-3.0.0.json", "openapi.yaml": "openapi-3.1.json"} {
		s, err := jsonschema.NewCompiler().Compile(filepath.Join("testdata", "meta", meta))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(document(t, file)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// walk visits every object below v.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, x := range v {
			walk(x, visit)
		}
	case []any:
		for _, x := range v {
			walk(x, visit)
		}
	}
}

// TestReferences checks that every $ref in the documents can be resolved.
func TestReferences(t *testing.T) {
	c := compiler(t)
	for _, file := range []string{"asyncapi.yaml", "openapi.yaml"} {
		doc := document(t, file)
		n := 0
		walk(doc, func(m map[string]any) {
			ref, ok := m["$ref"].(string)
			if !ok {
				return
			}
			n++
			if schema, found := strings.CutPrefix(ref, "./jsonschema/"); found {
				if _, err := c.Compile(schemas.Base + schema); err != nil {
					t.Errorf("%s: %s: %v", file, ref, err)
				}
				return
			}
			var v any = doc
			for _, key := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
				m, _ := v.(map[string]any)
				v = m[strings.ReplaceAll(key, "~1", "/")]
			}
			if v == nil {
				t.Errorf("%s: %s leads nowhere", file, ref)
			}
		})
		if n == 0 {
			t.Errorf("%s has no references", file)
		}
	}
}

// TestAsyncAPIHasAll checks that AsyncAPI has a message for each frame, event and order, in its channel.
func TestAsyncAPIHasAll(t *testing.T) {
	doc := document(t, "asyncapi.yaml")
	in := func(channel, message string) {
		messages, _ := doc["channels"].(map[string]any)[channel].(map[string]any)["messages"].(map[string]any)
		if messages[message] == nil {
			t.Errorf("channel %s has no message %s", channel, message)
		}
	}
	for _, e := range event.Types {
		in("status", string(e))
	}
	for _, o := range event.OrderTypes {
		in("control", string(o))
	}
	for _, f := range slices.Concat(frame.ClientTypes, frame.ServerTypes) {
		in("socket", string(f))
	}
}

// exampleLine matches an example in asyncapi.yaml, openapi.yaml or README.md. Its groups are the text before the
// example, the example, and the name of its file in testdata/wire.
var exampleLine = regexp.MustCompile(`(?m)^(.*?)(\[?\{.*\}\]?)( +# wire: (\S+)| <!-- wire: (\S+) -->)$`)

// TestExamples checks that every example in the documents is a file of testdata/wire, which TestWire validates.
func TestExamples(t *testing.T) {
	for _, file := range []string{"asyncapi.yaml", "openapi.yaml"} {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		fresh := exampleLine.ReplaceAllFunc(b, func(line []byte) []byte {
			n++
			m := exampleLine.FindSubmatch(line)
			return slices.Concat(m[1], golden(t, string(m[4])), m[3])
		})
		if all := bytes.Count(b, []byte("# wire: ")); n != all || n == 0 {
			t.Errorf("%s: %d of %d examples are readable", file, n, all)
		}
		if *update {
			if err := os.WriteFile(file, fresh, 0o644); err != nil {
				t.Fatal(err)
			}
		} else if !bytes.Equal(b, fresh) {
			t.Errorf("%s: examples are not those of testdata/wire (go test -run 'TestWire|TestExamples|TestReadme' -update)",
				file)
		}
	}
	// No example is written by hand.
	for _, file := range []string{"asyncapi.yaml", "openapi.yaml"} {
		walk(document(t, file), func(m map[string]any) {
			for _, key := range []string{"example", "externalValue"} {
				if m[key] != nil {
					t.Errorf("%s has an example that no test pins: %v", file, m[key])
				}
			}
		})
	}
}

// TestReadme checks that each raw record in README.md is the one in testdata/wire.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)<!-- wire: (\\S+) -->\n```json\n.*?```")
	var shown []string
	fresh := block.ReplaceAllFunc(b, func(old []byte) []byte {
		name := string(block.FindSubmatch(old)[1])
		shown = append(shown, name)
		return []byte("<!-- wire: " + name + " -->\n```json\n" + string(golden(t, name)) + "\n```")
	})
	tables := regexp.MustCompile("(?s)<!-- headers: (\\S+) -->\n.*?<!-- /headers -->")
	if n := len(tables.FindAll(b, -1)); n != 4 {
		t.Errorf("README.md has %d tables of headers, not those of requests, events, streams and dead letters", n)
	}
	fresh = tables.ReplaceAllFunc(fresh, func(old []byte) []byte {
		schema := string(tables.FindSubmatch(old)[1])
		return []byte("<!-- headers: " + schema + " -->\n" + headerTable(t, schema) + "<!-- /headers -->")
	})
	if *update {
		if err := os.WriteFile("README.md", fresh, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(b, fresh) {
		t.Error("README.md: records are not those of testdata/wire (go test -run 'TestWire|TestExamples|TestReadme' -update)")
	}
	for _, name := range []string{"request.headers", "request.payload", "status.headers", "dead.headers",
		"stream.text.headers", "stream.values.headers", "stream.values"} {
		if !slices.Contains(shown, name) {
			t.Errorf("README.md shows no %s", name)
		}
	}
	for _, e := range event.Types {
		if !slices.Contains(shown, "event."+string(e)) {
			t.Errorf("README.md shows no raw event %s", e)
		}
	}
	for _, o := range event.OrderTypes {
		if !slices.Contains(shown, "order."+string(o)) {
			t.Errorf("README.md shows no raw order %s", o)
		}
	}
}
