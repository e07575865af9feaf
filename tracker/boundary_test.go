package tracker

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// The tracker shares contracts and runtime with the other services, and nothing else.
func TestImports(t *testing.T) {
	rule := imports.Rule{Allow: []string{"blobs/...", "mskiam", "schemas/...", "internal/..."}}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
