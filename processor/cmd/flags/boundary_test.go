package flags

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// TestImports checks that the command imports only the library, the blob stores, IAM and the commands' shared packages.
func TestImports(t *testing.T) {
	rule := imports.Rule{Allow: []string{"blobs/...", "mskiam", "processor/...", "schemas/...", "internal/..."}}
	problems, err := rule.Check("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
