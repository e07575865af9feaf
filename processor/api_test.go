package processor

import (
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

// TestAPI shows each change of what programs import, and what in it they could not use or understand.
func TestAPI(t *testing.T) { api.Golden(t, *update) }
