package internal_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ackwire/ackwire/internal/imports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The common runtime knows no domain types and no service.
func TestImports(t *testing.T) {
	rule := imports.Rule{}
	problems, err := rule.Check(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}
