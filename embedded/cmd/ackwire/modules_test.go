package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ackwire/ackwire/internal/api"
)

var update = flag.Bool("update", false, "write testdata/modules.txt, the modules that the command is made of, anew")

// TestModules shows each change of what `make run` has to fetch and compile, and keeps out what made it slow: the SDKs
// of the clouds, which are for gateway, tracker and processor.
func TestModules(t *testing.T) {
	t.Setenv("CGO_ENABLED", "0") // as make run has it
	api.Modules(t, *update)
	text, err := os.ReadFile(filepath.Join("testdata", "modules.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{
		"gocloud.dev", "google.golang.org/api", "cloud.google.com/", "github.com/aws/", "github.com/Azure/",
	} {
		if strings.Contains(string(text), out) {
			t.Errorf("ackwire has packages of %s, which every new user would wait for: keep them in blobs/cloud, or "+
				"in a command that needs them", out)
		}
	}
}
