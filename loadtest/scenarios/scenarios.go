// Package scenarios has the built-in scenarios of loadtest.
package scenarios

import (
	"embed"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists the built-in scenarios.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // unreachable: they are part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Read returns the file of a built-in scenario.
func Read(name string) ([]byte, error) { return files.ReadFile(name + ".yaml") }
