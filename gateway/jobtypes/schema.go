package jobtypes

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// maxFieldErrors bounds how many places of a payload one answer names.
const maxFieldErrors = 20

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
		return frame.NewProblem(code.PayloadTooLarge, fmt.Sprintf("the payload has %d bytes, type %s takes %d", len(payload), t.Name, t.MaxPayload))
	}
	if t.schema == nil {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return frame.NewProblem(code.ValidationFailed, "the payload is not valid JSON")
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

var english = message.NewPrinter(language.English)

// flatten lists the leaves of a validation error.
func flatten(e *jsonschema.ValidationError, into []frame.FieldError) []frame.FieldError {
	if len(into) >= maxFieldErrors {
		return into
	}
	if len(e.Causes) == 0 {
		return append(into, frame.FieldError{Pointer: pointer(e.InstanceLocation), Detail: e.ErrorKind.LocalizedString(english)})
	}
	for _, cause := range e.Causes {
		into = flatten(cause, into)
	}
	return into
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
