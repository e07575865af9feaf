package processor

import (
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

// TestAPI compares the exported API with a golden file, and checks that other modules can use and understand it.
func TestAPI(t *testing.T) { api.Golden(t, *update) }

// TestModules compares the modules that a worker has to fetch and compile with a golden file: parts that only some
// workers need belong into modules of their own.
func TestModules(t *testing.T) { api.Modules(t, *update) }
