package processor

import (
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

// TestAPI shows each change of what programs import, and what in it they could not use or understand.
func TestAPI(t *testing.T) { api.Golden(t, *update) }

// TestModules shows each module that a worker has to fetch and compile: what only some need is in a module
// of its own.
func TestModules(t *testing.T) { api.Modules(t, *update) }
