// Package scenarios holds the scenarios that loadtest ships.
package scenarios

import (
	"embed"
	"strings"
)

//go:embed *.yaml
var files embed.FS

// Names lists the shipped scenarios.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // they are part of the program
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = strings.TrimSuffix(e.Name(), ".yaml")
	}
	return names
}

// Read returns the file of a shipped scenario.
func Read(name string) ([]byte, error) { return files.ReadFile(name + ".yaml") }
