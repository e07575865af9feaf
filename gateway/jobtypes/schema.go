package jobtypes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// Bounds of one answer: how many places of a payload it names, and what it says of each,
// which may quote the payload.
const (
	maxFieldErrors = 20
	maxDetailChars = 256
)

// schema is a compiled JSON Schema; nil takes everything.
type schema struct{ compiled *jsonschema.Schema }

func compile(definition any, file, dir string) (*schema, error) {
	var raw []byte
	var err error
	switch {
	case definition != nil && file != "":
		return nil, errors.New("schema and schemaFile exclude each other")
	case file != "":
		if raw, err = os.ReadFile(filepath.Join(dir, file)); err != nil {
			return nil, err
		}
	case definition == nil:
		return nil, nil
	default:
		if raw, err = json.Marshal(definition); err != nil {
			return nil, err
		}
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(noLoader{}) // a schema never makes the gateway fetch anything
	const name = "urn:ackwire:payload"
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, err
	}
	return &schema{compiled}, nil
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("%s: references to other documents are not followed", url)
}

// Validate checks a payload's size and its JSON against the type's schema. The error is a
// frame.Problem.
func (t *Type) Validate(payload []byte) error {
	if len(payload) > t.MaxPayload {
		return frame.NewProblem(code.PayloadTooLarge, fmt.Sprintf("the payload has %d bytes, type %s takes %d", len(payload),
			t.Name, t.MaxPayload))
	}
	if t.schema == nil {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return frame.NewProblem(code.ValidationFailed, "the payload is not valid JSON")
	}
	value, outside := inRange(value, nil, nil)
	if len(outside) > 0 {
		p := frame.NewProblem(code.ValidationFailed, "the payload has a number that is out of range")
		p.Errors = outside
		return p
	}
	err = t.schema.compiled.Validate(value)
	if err == nil {
		return nil
	}
	p := frame.NewProblem(code.ValidationFailed, "the payload does not fit the schema of "+t.Name)
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		p.Errors = flatten(invalid, nil)
	}
	return p
}

// inRange makes a payload's numbers safe to reckon with: the schema's checks are exact, and
// the exact value of 1e-999999 has a million digits. What a float64 rounds to 0 becomes 0,
// what it cannot hold (RFC 8785 takes no such number) is named.
func inRange(value any, at []string, outside []frame.FieldError) (any, []frame.FieldError) {
	switch v := value.(type) {
	case json.Number:
		switch f, err := strconv.ParseFloat(v.String(), 64); {
		case err != nil && len(outside) < maxFieldErrors:
			outside = append(outside, frame.FieldError{Pointer: pointer(at), Detail: "the number is out of range"})
		case f == 0:
			return json.Number("0"), outside
		}
	case []any:
		for i := range v {
			v[i], outside = inRange(v[i], append(at, strconv.Itoa(i)), outside)
		}
	case map[string]any:
		for key := range v {
			v[key], outside = inRange(v[key], append(at, key), outside)
		}
	}
	return value, outside
}

var english = message.NewPrinter(language.English)

// flatten lists the leaves of a validation error.
func flatten(e *jsonschema.ValidationError, into []frame.FieldError) []frame.FieldError {
	if len(into) >= maxFieldErrors {
		return into
	}
	if len(e.Causes) == 0 {
		return append(into, frame.FieldError{
			Pointer: pointer(e.InstanceLocation), Detail: short(e.ErrorKind.LocalizedString(english)),
		})
	}
	for _, cause := range e.Causes {
		into = flatten(cause, into)
	}
	return into
}

// short cuts a detail to its bound.
func short(detail string) string {
	if runes := []rune(detail); len(runes) > maxDetailChars {
		return string(runes[:maxDetailChars-1]) + "…"
	}
	return detail
}

// pointer is a JSON Pointer (RFC 6901 §3).
func pointer(location []string) string {
	var b strings.Builder
	for _, token := range location {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}
