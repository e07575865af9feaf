package ackwire_test

import (
	"flag"
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

var update = flag.Bool("update", false, "write testdata/api, what the packages export, anew")

// TestAPI shows each change of what programs import, and what in it they could not use or understand.
func TestAPI(t *testing.T) { api.Golden(t, *update) }

// TestModules shows each module that a client has to fetch and compile: what only some need is in a module
// of its own.
func TestModules(t *testing.T) { api.Modules(t, *update) }
