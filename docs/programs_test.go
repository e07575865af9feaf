package docs

import (
	"regexp"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

var goBlock = regexp.MustCompile("(?ms)^```go\n(package main\n.*?)^```")

// TestProgramsOfThePages compiles the Go programs that pages show, as a user's programs.
func TestProgramsOfThePages(t *testing.T) {
	programs := 0
	for page, text := range theTree(t).pages {
		for _, at := range goBlock.FindAllStringSubmatchIndex(text, -1) {
			programs++
			if err := api.Vet("../embedded", t.TempDir(), text[at[2]:at[3]]); err != nil {
				t.Errorf("%s:%d: %v", page, 1+strings.Count(text[:at[2]], "\n"), err)
			}
		}
	}
	if programs == 0 {
		t.Error("no page shows a program")
	}
}
