package processor

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// A processor shares contracts and runtime with the other services, and nothing else. Programs with
// handlers import it, so what only commands need is not for it: internal/command, blobs.
func TestImports(t *testing.T) {
	rule := imports.Rule{
		Allow: []string{
			"schemas/...", "internal/kafka", "internal/meter", "internal/pause", "internal/service", "internal/tracing",
			"internal/wake",
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
