package embedded

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// Services are put together through their root packages.
func TestImports(t *testing.T) {
	rule := imports.Rule{
		Allow: []string{
			"gateway", "processor", "processor/cmd/flags", "tracker", "tracker/dead", ".", "blobs/...", "schemas/...",
			"internal/...",
		},
		Tests: []string{"ackwiretest"},
		Except: map[string]string{
			"processor/webhook": "delivery of webhooks is a handler, a package beside the library that runs it",
			"processor/demo":    "the demo job types are handlers, a package beside the library that runs them",
		},
	}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
