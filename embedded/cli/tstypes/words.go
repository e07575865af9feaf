package tstypes

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/ackwire/ackwire/schemas/plainjson"
)

// expr is the text of a TypeScript type.
type expr struct {
	text   string
	joined bool // a union or an intersection: it needs parentheses within another type
}

// The TypeScript types of all values and of no value.
var (
	unknown = expr{text: "unknown"}
	never   = expr{text: "never"}
)

// union writes A | B.
func union(types []expr) expr {
	if slices.Contains(types, unknown) {
		return unknown
	}
	return combine(types, " | ", never)
}

// intersection writes A & B.
func intersection(types []expr) expr {
	if slices.Contains(types, never) {
		return never
	}
	return combine(types, " & ", unknown)
}

// combine joins types by sign, without duplicates. neutral changes nothing in such a combination and is left out; it is
// the result when there are no others.
func combine(types []expr, sign string, neutral expr) expr {
	var all []expr
	for _, t := range types {
		if t != neutral && !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	switch len(all) {
	case 0:
		return neutral
	case 1:
		return all[0]
	}
	texts := make([]string, len(all))
	for i, t := range all {
		texts[i] = t.whole()
	}
	return expr{strings.Join(texts, sign), true}
}

// whole returns the type, in parentheses if it needs them within another type.
func (e expr) whole() string {
	if e.joined {
		return "(" + e.text + ")"
	}
	return e.text
}

// literals writes the union of the literal types of values. Values whose JSON type is not in assume are left out.
func literals(values []any, assume kind) expr {
	all := make([]expr, 0, len(values))
	for _, v := range values {
		if of, text := literal(v, 0); assume&of != 0 {
			all = append(all, expr{text: text})
		}
	}
	return union(all)
}

func literal(v any, depth int) (kind, string) {
	switch v := v.(type) {
	case nil:
		return nullKind, "null"
	case bool:
		return booleanKind, strconv.FormatBool(v)
	case json.Number:
		f, err := v.Float64()
		if err != nil || math.IsInf(f, 0) {
			return numberKind, "number"
		}
		return numberKind, number(f)
	case string:
		return stringKind, quote(v)
	case []any:
		if depth > maxDepth {
			return arrayKind, "unknown[]"
		}
		elements := make([]string, len(v))
		for i := range v {
			_, elements[i] = literal(v[i], depth+1)
		}
		return arrayKind, "[" + strings.Join(elements, ", ") + "]"
	case map[string]any:
		if depth > maxDepth {
			return objectKind, "{ [name: string]: unknown }"
		}
		if len(v) == 0 {
			return objectKind, "{ [name: string]: never }"
		}
		members := make([]string, 0, len(v))
		for name, value := range v {
			_, text := literal(value, depth+1)
			members = append(members, quote(name)+": "+text)
		}
		slices.Sort(members)
		return objectKind, "{ " + strings.Join(members, "; ") + " }"
	}
	return anyKind, unknown.text
}

// number writes a number in its usual notation.
func number(f float64) string {
	if a := math.Abs(f); a == 0 || a >= 1e-6 && a < 1e21 {
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// quote writes a string literal in JSON, which is valid in TypeScript, too, and escapes line separators.
func quote(s string) string {
	b, err := plainjson.Marshal(s)
	if err != nil {
		return `""` // strings are always marshalled
	}
	return string(b)
}

var plainName = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// propertyName writes a property's name, in quotes unless it needs none.
func propertyName(name string) string {
	if plainName.MatchString(name) {
		return name
	}
	return quote(name)
}

// identifier makes a type's name of words: "report.generate payload" becomes ReportGeneratePayload.
func identifier(words string) string {
	var b strings.Builder
	begin := true
	for _, r := range words {
		if r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			begin = true
			continue
		}
		if begin {
			r = unicode.ToUpper(r)
		}
		begin = false
		b.WriteRune(r)
	}
	name := b.String()
	if name == "" || unicode.IsDigit(rune(name[0])) {
		name = "T" + name
	}
	return name
}

// maxComment bounds a comment, in characters.
const maxComment = 2000

// comment writes a schema's description, else its title, and whether it is deprecated, as a comment in front of a
// member; "" when it has none of them.
func comment(schema any, indent string) string {
	s, _ := schema.(map[string]any)
	text, _ := s["description"].(string)
	if text == "" {
		text, _ = s["title"].(string)
	}
	var lines []string
	for line := range strings.Lines(clean(text)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	if s["deprecated"] == true {
		lines = append(lines, "@deprecated")
	}
	switch len(lines) {
	case 0:
		return ""
	case 1:
		return indent + "/** " + lines[0] + " */\n"
	}
	return indent + "/**\n" + indent + " * " + strings.Join(lines, "\n"+indent+" * ") + "\n" + indent + " */\n"
}

// clean makes text safe within a comment: it cannot end the comment, and has no control characters and no Unicode line
// separators.
func clean(text string) string {
	if runes := []rune(text); len(runes) > maxComment {
		text = string(runes[:maxComment]) + "…"
	}
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\u2028', r == '\u2029', unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return ' '
		}
		return r
	}, text)
	return strings.ReplaceAll(text, "*/", "*\\/")
}
