package ackwire_test

import (
	"flag"
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

var update = flag.Bool("update", false, "write testdata/api, what the packages export, anew")

// TestAPI compares the exported API with a golden file, and checks that other modules can use and understand it.
func TestAPI(t *testing.T) { api.Golden(t, *update) }

// TestModules compares the modules that a client has to fetch and compile with a golden file: parts that only some
// programs need belong into modules of their own.
func TestModules(t *testing.T) { api.Modules(t, *update) }
