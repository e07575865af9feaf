package schemas_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/schemas/event"
	"github.com/ackwire/ackwire/schemas/job"
)

// absentIsZero lists fields that a writer must write, but that a reader decodes as 0 or false if they are missing: the
// Go types cannot tell the two apart.
var absentIsZero = []string{
	"/progress/percent", "/request/partition", "/request/offset", "/error/retryable", "/resultBlob/size",
	"/policy/backoff", "/policy/backoff/initial", "/policy/backoff/factor", "/policy/backoff/cap",
	"/policy/lease", "/policy/grace", "/policy/retention",
}

// emptyIsAbsent lists fields that a reader treats as missing if they are an empty string.
var emptyIsAbsent = []string{"/lane", "/worker"}

// lenient reports whether Decode may accept value at path, though the schema refuses it.
func lenient(path string, value any) bool {
	switch v := value.(type) {
	case nil:
		return true // null is absent to a reader; the Go types never write it
	case string:
		return v == "" && slices.Contains(emptyIsAbsent, path) || path == "/progress/stage" // the fold leaves it out
	case int:
		return v < 0 && path == "/renewal" // no record has such an offset: the fold treats it as stale
	case map[string]any:
		return len(v) == 0 && slices.ContainsFunc(absentIsZero, func(p string) bool {
			return p == path || strings.HasPrefix(p, path+"/")
		})
	}
	return false
}

// odd holds the values that are put in the place of each field: values of other types, empty ones, and values just
// outside the bounds that the schemas name.
var odd = []any{nil, "", "x", "results/../x", true, []any{}, map[string]any{}, -1, 0, 1.5,
	100.5, 1001, 1 << 31, job.MaxSeconds + 1, 1 << 40, 1e19, 1e300,
	strings.Repeat("ä", job.MaxNameChars+1), "http://a.example/" + strings.Repeat("x", job.MaxURLChars),
	"0000-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+23:59", "8999-12-31T23:59:59-23:59",
	"9000-01-01T00:00:00Z"}

// TestSchemaAndGoTypeAgree removes each field of each event and order, at any depth, and replaces it with odd values.
// The schema and the Go type must refuse the same records, so that a record which fits the schema never becomes a dead
// letter.
func TestSchemaAndGoTypeAgree(t *testing.T) {
	c := compiler(t)
	for _, w := range wires() {
		kind, _, _ := strings.Cut(w.schema, "/")
		if kind != "event" && kind != "order" {
			continue
		}
		schema := compile(t, c, w.schema)
		var record map[string]any
		if err := json.Unmarshal(golden(t, w.name), &record); err != nil {
			t.Fatal(err)
		}
		check := func(what string, lenient bool) {
			b, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			bySchema, byGo := schema.Validate(parsed(t, b)), decode(kind, b)
			switch {
			case bySchema == nil && byGo != nil:
				t.Errorf("%s %s: the schema takes it, the Go type says %v\n%.2000s", w.name, what, byGo, b)
			case bySchema != nil && byGo == nil && !lenient:
				t.Errorf("%s %s: the Go type takes it, the schema says %v\n%.2000s", w.name, what, bySchema, b)
			}
		}
		var spoil func(fields map[string]any, at string)
		spoil = func(fields map[string]any, at string) {
			for name, value := range fields {
				path := at + "/" + name
				if path == "/result" { // whatever the handler returned
					continue
				}
				delete(fields, name)
				check("without "+path, slices.Contains(absentIsZero, path))
				for _, v := range odd {
					if path == "/jobId" && record["resultBlob"] != nil && v != "" {
						continue // a blob's key names its job, which a schema cannot say
					}
					fields[name] = v
					check(fmt.Sprintf("with %#v as %s", v, path), lenient(path, v))
				}
				fields[name] = value
				if inner, ok := value.(map[string]any); ok {
					spoil(inner, path)
				}
			}
		}
		spoil(record, "")
		record["later"] = map[string]any{"unknown": true}
		check("with an unknown field", false)
		if err := decode(kind, must(json.Marshal(record))); err != nil {
			t.Errorf("%s with a field of a later version: %v", w.name, err)
		}
		record["v"] = event.Version + 1
		if err := decode(kind, must(json.Marshal(record))); !errors.Is(err, event.ErrVersion) {
			t.Errorf("%s of another version: %v", w.name, err)
		}
	}
}

func decode(kind string, b []byte) error {
	if kind == "event" {
		_, err := event.Decode(b)
		return err
	}
	_, err := event.DecodeOrder(b)
	return err
}
