package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// referenceFlag prints a command's settings as Markdown tables, for docs/configure.md.
type referenceFlag bool

// IsBool makes it a flag without a value.
func (referenceFlag) IsBool() bool { return true }

// Decode implements kong.MapperValue.
func (referenceFlag) Decode(*kong.DecodeContext) error { return nil }

// BeforeReset implements kong's hook, which runs before the rest of the command line is checked.
func (referenceFlag) BeforeReset(app *kong.Kong) error {
	writeReference(app.Stdout, app.Model.Node)
	app.Exit(0)
	return nil
}

// writeReference writes a table for each command that runs a service; these have the flag log-level.
func writeReference(w io.Writer, n *kong.Node) {
	if hasFlag(n, "log-level") {
		_, _ = fmt.Fprintf(w, "## %s\n\n| setting | default | what it is |\n|---|---|---|\n", strings.TrimSuffix(n.FullPath(),
			" serve"))
		for _, f := range n.Flags {
			if f.Hidden || f.Name == "help" {
				continue
			}
			_, _ = fmt.Fprintf(w, "| `%s` | %s | %s |\n", f.Name, reference(f), cell(f.Help))
		}
		_, _ = fmt.Fprintln(w)
	}
	for _, child := range n.Children {
		writeReference(w, child)
	}
}

func hasFlag(n *kong.Node, name string) bool {
	for _, f := range n.Flags {
		if f.Name == name {
			return true
		}
	}
	return false
}

// reference returns a flag's default as Markdown, or the form of its value.
func reference(f *kong.Flag) string {
	switch {
	case f.HasDefault && f.Default != "":
		return "`" + cell(f.Default) + "`"
	case f.IsBool():
		return "off"
	case f.PlaceHolder != "":
		return "none; " + cell(f.PlaceHolder)
	}
	return "none"
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
