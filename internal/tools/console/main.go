// Command console builds the web page that operators use, from gateway/console/web into gateway/console/assets.
//
//	console -C REPOSITORY            builds the page
//	console -C REPOSITORY -relock    writes the lock file anew, after a library was replaced
//
// It needs neither Node nor a network: the libraries of the page, Preact and uPlot, are in web/third as npm has
// them, and the lock file holds the hash of each of their files. The output is the same on every machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("C", ".", "folder of the repository")
	relock := flag.Bool("relock", false, "write the hashes of the libraries' files into the lock file")
	flag.Parse()
	if err := run(*root, *relock); err != nil {
		fmt.Fprintln(os.Stderr, "console:", err)
		os.Exit(1)
	}
}

func run(root string, relock bool) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if relock {
		return writeLock(root)
	}
	files, err := build(root)
	if err != nil {
		return err
	}
	return write(filepath.Join(root, assetsDir), files)
}
