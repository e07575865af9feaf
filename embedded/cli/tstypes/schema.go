package tstypes

import (
	"encoding/json"
	"slices"
	"strings"
)

// maxDepth bounds how deeply types are nested; deeper parts are written as unknown.
const maxDepth = 40

// kind is a set of JSON types.
type kind int

const (
	nullKind kind = 1 << iota
	booleanKind
	numberKind
	stringKind
	arrayKind
	objectKind
	anyKind = nullKind | booleanKind | numberKind | stringKind | arrayKind | objectKind
)

var kinds = map[string]kind{
	"null": nullKind, "boolean": booleanKind, "number": numberKind, "integer": numberKind, "string": stringKind,
	"array": arrayKind, "object": objectKind,
}

// position is the place at which a type is written.
type position struct {
	indent int // in steps of two spaces
	depth  int
	// within is the JSON pointer of the type that is being declared, as long as no property or element lies between
	// it and this position; else nil.
	within *string
}

// inside returns the position of a property or an element.
func (p position) inside(steps int) position {
	return position{indent: p.indent + steps, depth: p.depth + 1}
}

// beside returns the position of a part of a union or an intersection.
func (p position) beside() position {
	p.depth++
	return p
}

// typeOf writes the type of a schema's values. assume are the JSON types that the enclosing schemas allow: a schema
// without "type", such as one with only "properties", accepts values of all of them.
func (d *document) typeOf(schema any, assume kind, at position) expr {
	s, ok := schema.(map[string]any)
	switch {
	case schema == false:
		return never
	case !ok || at.depth > maxDepth:
		return unknown
	}
	if ref, ok := s["$ref"].(string); ok && d.draft == draft6 {
		return d.reference(ref, at.beside())
	}
	assume &= typesSaid(s)
	all := []expr{d.own(s, assume, at)}
	if ref, ok := s["$ref"].(string); ok {
		all = append(all, d.reference(ref, at.beside()))
	}
	for _, part := range list(s["allOf"]) {
		all = append(all, d.typeOf(part, assume, at.beside()))
	}
	for _, key := range []string{"anyOf", "oneOf"} {
		var choice []expr
		for _, part := range list(s[key]) {
			choice = append(choice, d.typeOf(part, assume, at.beside()))
		}
		if choice != nil {
			all = append(all, union(choice))
		}
	}
	return intersection(all)
}

// typesSaid returns the JSON types that a schema's "type" allows; all when it has none.
func typesSaid(s map[string]any) kind {
	switch t := s["type"].(type) {
	case string:
		return kinds[t]
	case []any:
		var all kind
		for _, name := range t {
			text, _ := name.(string)
			all |= kinds[text]
		}
		return all
	}
	return anyKind
}

// own writes the type of a schema's own keywords, without $ref, allOf, anyOf and oneOf.
func (d *document) own(s map[string]any, assume kind, at position) expr {
	if value, ok := s["const"]; ok {
		return literals([]any{value}, assume)
	}
	if values, ok := s["enum"].([]any); ok {
		return literals(values, assume)
	}
	if assume == anyKind {
		return unknown
	}
	var all []expr
	for _, k := range []struct {
		kind kind
		name string
	}{{stringKind, "string"}, {numberKind, "number"}, {booleanKind, "boolean"}} {
		if assume&k.kind != 0 {
			all = append(all, expr{text: k.name})
		}
	}
	if assume&arrayKind != 0 {
		all = append(all, d.array(s, at))
	}
	if assume&objectKind != 0 {
		all = append(all, d.object(s, at))
	}
	if assume&nullKind != 0 {
		all = append(all, expr{text: "null"})
	}
	return union(all)
}

// array writes the type of an array, as a tuple when its first elements have schemas of their own.
func (d *document) array(s map[string]any, at position) expr {
	first, rest, more := list(s["prefixItems"]), s["items"], true
	if d.draft != draft2020 {
		first = nil
		if many, ok := s["items"].([]any); ok {
			first, rest = many, s["additionalItems"]
		}
	}
	other := unknown
	if rest != nil {
		other = d.typeOf(rest, anyKind, at.inside(0))
		more = other != never
	}
	if len(first) == 0 {
		if !more {
			return expr{text: "[]"}
		}
		return expr{text: other.whole() + "[]"}
	}
	needed := count(s["minItems"])
	elements := make([]string, 0, len(first)+1)
	for i, part := range first {
		element := d.typeOf(part, anyKind, at.inside(0))
		if i < needed {
			elements = append(elements, element.text)
			continue
		}
		elements = append(elements, element.whole()+"?")
	}
	if more {
		elements = append(elements, "..."+other.whole()+"[]")
	}
	return expr{text: "[" + strings.Join(elements, ", ") + "]"}
}

// count returns v as a number of elements, at most 2^20; 0 when v is not a positive number.
func count(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	f, err := n.Float64()
	if err != nil || !(f > 0) {
		return 0
	}
	return int(min(f, 1<<20))
}

// object writes the type of an object. If the schema accepts properties that it does not name, the type has an index
// signature, so that TypeScript refuses no value which the schema accepts.
func (d *document) object(s map[string]any, at position) expr {
	properties, _ := s["properties"].(map[string]any)
	required := map[string]bool{}
	for _, name := range list(s["required"]) {
		if text, ok := name.(string); ok {
			required[text] = true
		}
	}
	names := make([]string, 0, len(properties)+len(required))
	for name := range properties {
		names = append(names, name)
	}
	for name := range required {
		if _, known := properties[name]; !known {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	indent := strings.Repeat("  ", at.indent+1)
	var b strings.Builder
	b.WriteString("{\n")
	var values []expr
	optional := false
	for _, name := range names {
		part, known := properties[name]
		value := unknown
		if known {
			value = d.typeOf(part, anyKind, at.inside(1))
			b.WriteString(comment(part, indent))
		}
		mark := ""
		if !required[name] {
			mark, optional = "?", true
		}
		b.WriteString(indent + propertyName(name) + mark + ": " + value.text + ";\n")
		values = append(values, value)
	}
	if other := d.others(s, at); other != never || len(names) == 0 {
		if other != never {
			if optional {
				values = append(values, expr{text: "undefined"})
			}
			other = union(append([]expr{other}, values...))
		}
		b.WriteString(indent + "[name: string]: " + other.text + ";\n")
	}
	b.WriteString(strings.Repeat("  ", at.indent) + "}")
	return expr{text: b.String()}
}

// others returns the type of all properties that are not named; never when the schema accepts none.
func (d *document) others(s map[string]any, at position) expr {
	additional, said := s["additionalProperties"]
	if !said {
		return unknown
	}
	all := []expr{d.typeOf(additional, anyKind, at.inside(1))}
	patterns, _ := s["patternProperties"].(map[string]any)
	keys := make([]string, 0, len(patterns))
	for key := range patterns {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		all = append(all, d.typeOf(patterns[key], anyKind, at.inside(1)))
	}
	return union(all)
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}
