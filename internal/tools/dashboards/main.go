// Command dashboards writes Ackwire's Grafana dashboards, one JSON file each.
//
//	go run ./dashboards -out ../../deploy/grafana/dashboards
//
// The panels are written in Go, so that filters and the way to query histograms are each in one place. A test in
// embedded/process executes every query against a real Prometheus, and `make check-generated` compares the files
// with the code.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	out := flag.String("out", ".", "folder that the JSON files are written to")
	flag.Parse()
	for _, b := range []*board{overview(), jobs(), gateway(), tracker(), runtime()} {
		if err := write(*out, b); err != nil {
			log.Fatal(err)
		}
	}
}

// write writes a dashboard's file. It is the same on every machine: the builders keep the order of fields, and
// nothing depends on when or where it was made.
func write(dir string, b *board) error {
	d, err := b.build()
	if err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("%s: %w", b.name, err)
	}
	return os.WriteFile(filepath.Join(dir, b.name+".json"), buf.Bytes(), 0o644)
}
