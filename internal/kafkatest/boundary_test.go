package kafkatest

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// A Kafka for tests knows nothing of what is tested with it; its own tests may have our clients.
func TestImports(t *testing.T) {
	rule := imports.Rule{Tests: []string{"internal/..."}}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
