package tstypes

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// draft is the dialect of JSON Schema of a document. Dialects that lead to the same types share a value.
type draft int

const (
	draftOther draft = iota // not known, or too old: its types are unknown
	draft6                  // 6 and 7: keywords beside $ref are ignored, and items may be a list
	draft2019               // items may be a list
	draft2020
)

func draftOf(schema any) draft {
	root, _ := schema.(map[string]any)
	name, said := root["$schema"].(string)
	if !said {
		return draft2020 // Ackwire's default
	}
	switch strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(name, "https://"), "http://"), "#") {
	case "json-schema.org/draft/2020-12/schema":
		return draft2020
	case "json-schema.org/draft/2019-09/schema":
		return draft2019
	case "json-schema.org/draft-07/schema", "json-schema.org/draft-06/schema":
		return draft6
	}
	return draftOther
}

// document is one schema document, within which its references are resolved.
type document struct {
	file  *file
	root  any
	name  string // the names of its declared parts begin with it
	draft draft
	// moved says that a part has an $id of its own. It changes what references resolve to, so none are followed.
	moved    bool
	declared map[string]string // the names of parts that have been declared, by pointer
}

func newDocument(f *file, root any, name string) *document {
	return &document{
		file: f, root: root, name: name, draft: draftOf(root), moved: hasID(root, true), declared: map[string]string{},
	}
}

// hasID reports whether a part of a schema may have an $id. The root's own $id is not counted: it changes nothing.
func hasID(v any, root bool) bool {
	switch v := v.(type) {
	case map[string]any:
		if _, has := v["$id"]; has && !root {
			return true
		}
		for _, part := range v {
			if hasID(part, false) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(part any) bool { return hasID(part, false) })
	}
	return false
}

// find returns the part that a reference names, and its JSON pointer; ok is false for a reference that is not followed.
func (d *document) find(ref string) (part any, pointer string, ok bool) {
	fragment, own := strings.CutPrefix(ref, "#")
	if !own || d.moved {
		return nil, "", false
	}
	pointer, err := url.PathUnescape(fragment)
	if err != nil || pointer != "" && pointer[0] != '/' {
		return nil, "", false // an anchor
	}
	part = d.root
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch v := part.(type) {
		case map[string]any:
			if part, ok = v[token]; !ok {
				return nil, "", false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) || strconv.Itoa(i) != token {
				return nil, "", false
			}
			part = v[i]
		default:
			return nil, "", false
		}
	}
	return part, pointer, true
}

// reference writes a reference as the name of a type, and declares that type at its first use.
func (d *document) reference(ref string, at position) expr {
	part, pointer, ok := d.find(ref)
	if !ok || at.within != nil && d.leads(part, *at.within, map[string]bool{}) {
		return unknown
	}
	if name, done := d.declared[pointer]; done {
		return expr{text: name}
	}
	last := pointer[strings.LastIndex(pointer, "/")+1:]
	name := d.file.declare(d.name + " " + last)
	d.declared[pointer] = name
	i := len(d.file.declared)
	d.file.declared = append(d.file.declared, "")
	d.file.declared[i] = comment(part, "") + "type " + name + " = " +
		d.typeOf(part, anyKind, position{within: &pointer}).text + ";\n"
	return expr{text: name}
}

// leads reports whether a part's type refers to the type at a pointer with no property or element between them.
// TypeScript refuses a type that refers to itself in this way.
func (d *document) leads(part any, pointer string, seen map[string]bool) bool {
	s, ok := part.(map[string]any)
	if !ok {
		return false
	}
	if ref, ok := s["$ref"].(string); ok {
		next, at, found := d.find(ref)
		if found && at == pointer {
			return true
		}
		if found && !seen[at] {
			seen[at] = true
			if d.leads(next, pointer, seen) {
				return true
			}
		}
	}
	for _, key := range []string{"allOf", "anyOf", "oneOf"} {
		parts, _ := s[key].([]any)
		for _, p := range parts {
			if d.leads(p, pointer, seen) {
				return true
			}
		}
	}
	return false
}
