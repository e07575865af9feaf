package jobtypes

import (
	"encoding/json"
	"strings"
	"testing"
)

const resultTypes = `
defaults:
  resultSchema: {type: [object, "null"]}
types:
  report:
    resultSchema:
      type: object
      properties:
        rows: {type: integer, minimum: 0}
        name: {type: string, maxLength: 3}
      required: [rows]
      additionalProperties: false
  beside: {resultSchemaFile: result.json}
  plain: {}
  any: {resultSchema: {}}
  amount: {resultSchema: {type: number, multipleOf: 0.5}}
`

// A result is checked against the schema of its job's type: its own, or that of the defaults.
func TestResultsAreChecked(t *testing.T) {
	set := load(t, resultTypes, "result.json", `{"type": "string"}`)
	for _, c := range []struct{ jobType, result, want string }{
		{"report", `{"rows":3}`, ""},
		{"report", `{"rows":3.0,"name":"abc"}`, ""},
		{"report", `{"rows":"3"}`, "does not fit the result schema of report: /rows: "},
		{"report", `{}`, "does not fit the result schema of report: missing property"},
		{"report", `{"rows":-1,"name":"abcd"}`, "; /"},
		{"report", `{"rows":1,"more":1}`, "additional"},
		{"report", `null`, "does not fit the result schema of report"},
		{"report", ``, "does not fit the result schema of report"},
		{"report", `{"rows":`, "is not valid JSON"},
		{"beside", `"text"`, ""},
		{"beside", `1`, "does not fit the result schema of beside"},
		{"plain", `{"x":1}`, ""},
		{"plain", ``, ""},
		{"plain", `1`, "does not fit the result schema of plain"},
		{"any", ``, ""},
		{"any", `[1]`, ""},
		{"amount", `1.5`, ""},
		{"amount", `1e1000001`, "has a number that is out of range"},
		{"a type that is not in the file", `1`, ""},
	} {
		err := set.CheckResult(c.jobType, json.RawMessage(c.result))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %s: got %v, want %q", c.result, c.jobType, err, c.want)
		}
	}
}

// An error in the schema of results is reported with its key and line when the file is read.
func TestABadResultSchemaIsTold(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"types:\n  a:\n    resultSchema: 5\n", ":3: a: resultSchema: "},
		{"types:\n  a:\n    resultSchema: {type: strin}\n", ":3: a: resultSchema: "},
		{"types:\n  a:\n    resultSchema: {$ref: 'https://example.com/x'}\n", "are not followed"},
		{
			"types:\n  a:\n    resultSchema: {}\n    resultSchemaFile: x.json\n",
			"resultSchema and resultSchemaFile exclude each other",
		},
		{"types:\n  a:\n    resultSchemaFile: nowhere.json\n", ":3: a: resultSchemaFile: "},
		{"types:\n  a:\n    resultsSchema: {}\n", "resultsSchema"},
	} {
		if _, err := Load(file(t, c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.file, err, c.want)
		}
	}
}

// Programs that generate types can read both schemas.
func TestSchemasCanBeRead(t *testing.T) {
	set := load(t, "types:\n  a: {schema: {maxLength: 9007199254740993}, resultSchema: true}\n  b: {}\n")
	payload, err := json.Marshal(set["a"].PayloadSchema())
	if err != nil || string(payload) != `{"maxLength":9007199254740993}` {
		t.Errorf("the payload's schema is %s, %v", payload, err)
	}
	if got := set["a"].ResultSchema(); got != true {
		t.Errorf("the result's schema is %v", got)
	}
	if p, r := set["b"].PayloadSchema(), set["b"].ResultSchema(); p != nil || r != nil {
		t.Errorf("b has schemas %v and %v", p, r)
	}
}
