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

// Bounds of a validation error: how many places of a payload it names, and the length of each detail, which may quote
// the payload.
const (
	maxFieldErrors = 20
	maxDetailChars = 256
)

// schema is a compiled JSON Schema; nil accepts everything.
type schema struct {
	compiled *jsonschema.Schema
	doc      any // the document from which it was compiled
}

func (s *schema) definition() any {
	if s == nil {
		return nil
	}
	return s.doc
}

// source is a schema in the file of job types, or the name of a file of its own.
type source struct {
	inline any
	file   string
}

func (s source) none() bool { return s.inline == nil && s.file == "" }

// compile reads and compiles the schema; nil if there is none. key names it in errors.
func (s source) compile(dir, key string) (*schema, error) {
	var raw []byte
	var err error
	switch {
	case s.inline != nil && s.file != "":
		return nil, fmt.Errorf("%s and %sFile exclude each other", key, key)
	case s.file != "":
		if raw, err = os.ReadFile(filepath.Join(dir, s.file)); err != nil {
			return nil, err
		}
	case s.inline == nil:
		return nil, nil
	default:
		if raw, err = json.Marshal(s.inline); err != nil {
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
	c.UseLoader(noLoader{}) // no schema may make a process fetch a document
	name := "urn:ackwire:" + key
	if err := c.AddResource(name, doc); err != nil {
		return nil, err
	}
	compiled, err := c.Compile(name)
	if err != nil {
		return nil, err
	}
	return &schema{compiled, doc}, nil
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
	why, places := t.payload.check(payload)
	if why == "" {
		return nil
	}
	if why == unfit {
		why += " the schema of " + t.Name
	}
	p := frame.NewProblem(code.ValidationFailed, "the payload "+why)
	p.Errors = places
	return p
}

// CheckResult checks a handler's result against the result schema of its job's type. An empty result counts as null.
// A type without a result schema, or one that is not in the set, accepts every result. The error's text is a
// predicate, to be put after "the handler's result".
func (s Set) CheckResult(jobType string, result json.RawMessage) error {
	t := s[jobType]
	if t == nil {
		return nil
	}
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	why, places := t.result.check(result)
	if why == "" {
		return nil
	}
	if why == unfit {
		why += " the result schema of " + t.Name
	}
	for i, p := range places {
		sign := ";"
		if i == 0 {
			sign = ":"
		}
		if p.Pointer != "" {
			p.Detail = p.Pointer + ": " + p.Detail
		}
		why += sign + " " + p.Detail
	}
	return errors.New(why)
}

// unfit is the reason for a value that does not match its schema. The caller appends the schema's name.
const unfit = "does not fit"

// check returns why a JSON value does not match the schema, and at which places; "" if it does.
func (s *schema) check(raw []byte) (why string, places []frame.FieldError) {
	if s == nil {
		return "", nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return "is not valid JSON", nil
	}
	value, outside := inRange(value, nil, nil)
	if len(outside) > 0 {
		return "has a number that is out of range", outside
	}
	err = s.compiled.Validate(value)
	if err == nil {
		return "", nil
	}
	var invalid *jsonschema.ValidationError
	if errors.As(err, &invalid) {
		places = flatten(invalid, nil)
	}
	return unfit, places
}

// inRange makes a payload's numbers safe for validation: the schema's checks compute exactly, and
// the exact value of 1e-999999 has a million digits. Numbers that a float64 rounds to 0 become 0. Numbers that are too
// large for a float64, which RFC 8785 excludes too, are returned in outside.
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

// short cuts a detail to maxDetailChars.
func short(detail string) string {
	if runes := []rune(detail); len(runes) > maxDetailChars {
		return string(runes[:maxDetailChars-1]) + "…"
	}
	return detail
}

// pointer returns a location as a JSON Pointer (RFC 6901 §3).
func pointer(location []string) string {
	var b strings.Builder
	for _, token := range location {
		b.WriteByte('/')
		b.WriteString(strings.NewReplacer("~", "~0", "/", "~1").Replace(token))
	}
	return b.String()
}
