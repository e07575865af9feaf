package command

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// What commands share knows no domain types and no service.
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
