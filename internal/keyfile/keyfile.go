// Package keyfile reads files of secret keys, with one format for all of them.
package keyfile

import (
	"bytes"
	"fmt"
	"os"
	"unicode"
	"unicode/utf8"
)

// Read returns the keys in a file, as Parse does. Errors name the file and never contain its content.
func Read(name string, most int) ([][]byte, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	keys, err := Parse(b, most)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return keys, nil
}

// Parse returns the keys in a file, at most most of them, in their order.
//
// In a text file each line is a key, without its line end and blanks around it; empty lines are skipped. So an
// editor, echo and a secret store make the same key. A file that is not text (it has a byte that is not valid
// UTF-8, or a character that does not print) is one key of exactly its bytes.
func Parse(file []byte, most int) (keys [][]byte, err error) {
	if len(file) == 0 {
		return nil, nil
	}
	if !text(file) {
		return [][]byte{bytes.Clone(file)}, nil
	}
	for line := range bytes.Lines(file) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			keys = append(keys, bytes.Clone(line))
		}
	}
	if len(keys) > most {
		return nil, fmt.Errorf("it has %d keys, one a line: at most %d are allowed", len(keys), most)
	}
	return keys, nil
}

// text reports whether a file consists of printable characters, blanks and line ends.
func text(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	return bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' && r != '\r' && r != '\n' }) < 0
}
