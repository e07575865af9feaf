// Package tstypes writes the TypeScript types of job types, from the JSON Schemas of their payloads and results.
//
// A written type accepts every value that its schema accepts. Where TypeScript cannot express a rule of the schema
// (bounds, patterns, not, if), the type accepts more; where nothing is known about a value its type is unknown.
package tstypes

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// head begins each file. The export makes the file a module, so that its declaration is merged with the package's own.
const head = `// The job types of your server. Made by "ackwire types --ts"; do not edit.

export {};

declare module "ackwire" {
  interface Jobs {
`

// Declare returns a TypeScript file that fills the interface Jobs of the package ackwire with all job types, sorted by
// name.
func Declare(types jobtypes.Set) []byte {
	f := &file{names: map[string]bool{}}
	var jobs bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(types)) {
		t := types[name]
		payload, result := t.PayloadSchema(), t.ResultSchema()
		jobs.WriteString(comment(payload, "    "))
		fmt.Fprintf(&jobs, "    %s: {\n", quote(name))
		fmt.Fprintf(&jobs, "      payload: %s;\n", f.root(payload, name+" payload", 3).text)
		fmt.Fprintf(&jobs, "      result: %s;\n    };\n", f.root(result, name+" result", 3).text)
	}
	var out bytes.Buffer
	out.WriteString(head)
	out.Write(jobs.Bytes())
	out.WriteString("  }\n}\n")
	for _, declared := range f.declared {
		out.WriteString("\n" + declared)
	}
	return out.Bytes()
}

// file collects the types that a file declares besides Jobs.
type file struct {
	names    map[string]bool // of all declared types
	declared []string        // the text of each declaration
}

// root writes the type of a whole schema document. indent counts steps of two spaces.
func (f *file) root(schema any, name string, indent int) expr {
	if schema == nil {
		return unknown
	}
	d := newDocument(f, schema, name)
	if d.draft == draftOther {
		return unknown
	}
	return d.typeOf(schema, anyKind, position{indent: indent})
}

// declare returns an unused name for a declared type and reserves it.
func (f *file) declare(wanted string) string {
	name := identifier(wanted)
	for n := 2; f.names[name] || reserved[name]; n++ {
		name = fmt.Sprintf("%s%d", identifier(wanted), n)
	}
	f.names[name] = true
	return name
}

// reserved are names that a file must not declare: within its declaration they mean the package's own types.
var reserved = map[string]bool{"Jobs": true, "Payload": true, "Result": true}
