package loadtest_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/imports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What is measured is put together through root packages.
func TestImports(t *testing.T) {
	rule := imports.Rule{
		Allow: []string{
			"embedded", "gateway", "processor", "processor/cmd/flags", "tracker", ".", "blobs/...", "schemas/...",
			"internal/...",
		},
		Tests: []string{"embedded/sim"},
		Except: map[string]string{
			"processor/demo": "the demo job types are handlers, a package beside the library that runs them",
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
