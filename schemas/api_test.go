package schemas_test

import (
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

// TestAPI compares the exported API with a golden file, and checks that other modules can use and understand it.
func TestAPI(t *testing.T) { api.Golden(t, *update) }
