// Command gen writes codes_gen.go and codes.md from codes.json, and the JavaScript client's codes_gen.ts and
// problems_gen.ts from codes.json and the frame types.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"go/format"
	"log"
	"os"
	"path/filepath"
	"strings"
)

type table struct {
	Errors []struct {
		Code      string
		HTTP      int
		Retryable bool
		Title     string
		Meaning   string
	}
	Closes []struct {
		Code      int
		Name      string
		Reconnect bool
		Meaning   string
	}
}

func main() {
	log.SetFlags(0)
	ts := flag.String("ts", "../../clients/js/src", "folder where the JavaScript client's files are written")
	flag.Parse()
	raw, err := os.ReadFile("codes.json")
	if err != nil {
		log.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var t table
	if err := dec.Decode(&t); err != nil {
		log.Fatalf("codes.json: %v", err)
	}
	src, err := format.Source(goSource(t))
	if err != nil {
		log.Fatal(err)
	}
	write("codes_gen.go", src)
	write("codes.md", markdown(t))
	write(filepath.Join(*ts, "codes_gen.ts"), typeScript(t))
	write(filepath.Join(*ts, "problems_gen.ts"), problems(t))
}

func write(name string, b []byte) {
	if err := os.WriteFile(name, b, 0o644); err != nil {
		log.Fatal(err)
	}
}

func goSource(t table) []byte {
	var b bytes.Buffer
	b.WriteString("// Code generated from codes.json by internal/gen; DO NOT EDIT.\n\npackage code\n\n// The error " +
		"codes.\nconst (\n")
	for _, e := range t.Errors {
		fmt.Fprintf(&b, "// %s (HTTP %d): %s\n%s Code = %q\n", camel(e.Code), e.HTTP, e.Meaning, camel(e.Code), e.Code)
	}
	b.WriteString(")\n\n// The close codes.\nconst (\n")
	for _, c := range t.Closes {
		fmt.Fprintf(&b, "// Close%s: %s\nClose%s Close = %d\n", camel(c.Name), c.Meaning, camel(c.Name), c.Code)
	}
	b.WriteString(")\n\n// All lists every error code, in the table's order.\nvar All = []Code{")
	for _, e := range t.Errors {
		fmt.Fprintf(&b, "%s,", camel(e.Code))
	}
	b.WriteString("}\n\n// AllCloses lists every close code, in the table's order.\nvar AllCloses = []Close{")
	for _, c := range t.Closes {
		fmt.Fprintf(&b, "Close%s,", camel(c.Name))
	}
	b.WriteString("}\n\nvar infos = map[Code]Info{\n")
	for _, e := range t.Errors {
		fmt.Fprintf(&b, "%s: {HTTP: %d, Retryable: %v, Title: %q, Meaning: %q},\n", camel(e.Code), e.HTTP, e.Retryable,
			e.Title, e.Meaning)
	}
	b.WriteString("}\n\nvar closes = map[Close]CloseInfo{\n")
	for _, c := range t.Closes {
		fmt.Fprintf(&b, "Close%s: {Name: %q, Reconnect: %v, Meaning: %q},\n", camel(c.Name), c.Name, c.Reconnect, c.Meaning)
	}
	b.WriteString("}\n")
	return b.Bytes()
}

func markdown(t table) []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from codes.json by internal/gen; do not edit. -->\n# Codes\n\n## Errors\n\n| code | " +
		"HTTP | retry | meaning |\n|---|---|---|---|\n")
	for _, e := range t.Errors {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", e.Code, e.HTTP, yes(e.Retryable), e.Meaning)
	}
	b.WriteString("\n## WebSocket closes\n\n| code | name | reconnect | meaning |\n|---|---|---|---|\n")
	for _, c := range t.Closes {
		fmt.Fprintf(&b, "| %d | `%s` | %s | %s |\n", c.Code, c.Name, yes(c.Reconnect), c.Meaning)
	}
	return b.Bytes()
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func camel(s string) string {
	var out strings.Builder
	for _, w := range strings.Split(s, "_") {
		switch w {
		case "utf8":
			out.WriteString("UTF8")
		default:
			out.WriteString(strings.ToUpper(w[:1]) + w[1:])
		}
	}
	return out.String()
}
