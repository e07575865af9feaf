package mskiam

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// TestImports checks that the package imports none of the services.
func TestImports(t *testing.T) {
	rule := imports.Rule{Allow: []string{"internal/..."}}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
