package embedded

import (
	"flag"
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

var update = flag.Bool("update", false, "write testdata/api, what the package exports, anew")

// TestAPI shows each change of what programs import, and what in it they could not use or understand. The packages
// below are the command's own.
func TestAPI(t *testing.T) { api.Golden(t, *update, ".") }
