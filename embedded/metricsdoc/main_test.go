package main

import (
	"bytes"
	"os"
	"testing"
)

// TestTheTableIsUpToDate: docs/metrics.md has every metric as the code defines it.
func TestTheTableIsUpToDate(t *testing.T) {
	var want bytes.Buffer
	if err := run(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("docs/metrics.md is not what the services define: run make generate. It should be\n%s", &want)
	}
}
