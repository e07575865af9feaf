// Command dashboards writes Ackwire's Grafana dashboards, one JSON file each.
//
//	go run ./dashboards -out ../../deploy/grafana/dashboards
//
// The panels are Go so that a metric's name, its filter and the way histograms are queried
// stand in one place each. Every query is executed against a real Prometheus by a test in
// embedded/process, and the files are compared with the code by `make check-generated`.
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

// write gives the file a stable form: the builders keep the order of fields, and nothing in
// it depends on when or where it was made.
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
