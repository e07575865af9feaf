package kafkatest

import (
	"testing"

	"github.com/ackwire/ackwire/internal/imports"
)

// A Kafka for tests knows nothing of what is tested.
func TestImports(t *testing.T) {
	rule := imports.Rule{Allow: []string{"internal/imports"}}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
