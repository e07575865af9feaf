package flags

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// The command is made of the library, the stores and what commands share.
func TestImports(t *testing.T) {
	rule := imports.Rule{Allow: []string{"blobs/...", "processor/...", "schemas/...", "internal/..."}}
	problems, err := rule.Check("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
