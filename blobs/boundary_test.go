package blobs

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// A store of blobs knows no service.
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
