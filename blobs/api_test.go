package blobs

import (
	"flag"
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

var update = flag.Bool("update", false, "write testdata/api, what the packages export, anew")

// TestAPI compares the exported API with a golden file, and checks that other modules can use and understand it.
func TestAPI(t *testing.T) { api.Golden(t, *update) }
