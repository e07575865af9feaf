// Package tstypes writes the TypeScript types of job types, from the JSON Schemas of their payloads and results.
//
// A type that it writes takes every value that its schema takes. Where TypeScript cannot say what the schema says
// (bounds, patterns, not, if), the type takes more; where nothing is known of a value it is unknown.
package tstypes

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/ackwire/ackwire/schemas/jobtypes"
)

// head begins each file. The export makes it a module, so that the declaration adds to the package's own.
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

// file is what a file declares beside the jobs.
type file struct {
	names    map[string]bool // of all declared types
	declared []string        // each a whole declaration
}

// root writes the type of a schema, which is a document of its own, at an indentation in steps of two spaces.
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

// declare makes a name for a type that stands on its own.
func (f *file) declare(wanted string) string {
	name := identifier(wanted)
	for n := 2; f.names[name] || reserved[name]; n++ {
		name = fmt.Sprintf("%s%d", identifier(wanted), n)
	}
	f.names[name] = true
	return name
}

// reserved are names that a file must not take, since the package's own would stand for them in its declaration.
var reserved = map[string]bool{"Jobs": true, "Payload": true, "Result": true}
