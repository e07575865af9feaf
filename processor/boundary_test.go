package processor

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// TestImports: a processor shares only contracts and runtime with the other services. Programs with handlers import it,
// so it must not import what only commands need: internal/command and blobs.
func TestImports(t *testing.T) {
	rule := imports.Rule{
		Allow: []string{
			"schemas/...", "internal/kafka", "internal/meter", "internal/pause", "internal/service", "internal/service/version",
			"internal/tracing", "internal/wake",
		},
		Tests: []string{"internal/..."},
	}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
