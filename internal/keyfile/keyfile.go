// Package keyfile reads files of secret keys, all by one rule.
package keyfile

import (
	"bytes"
	"fmt"
	"os"
	"unicode"
	"unicode/utf8"
)

// Read returns the keys in a file, as Parse does. Errors name the file, and never what is in it.
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

// Parse reads a file of at most so many keys. Text is a key a line, the first first: neither the
// line's end nor blanks around it are of the key, and empty lines are none. So an editor, echo and
// a secret store make the same key. What is not text (a byte that is no character, or is one that
// does not print) is one key of exactly these bytes.
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
		return nil, fmt.Errorf("it has %d keys, one a line: %d may be there", len(keys), most)
	}
	return keys, nil
}

// text reports whether a file's bytes are printable characters, blanks and ends of lines.
func text(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	return bytes.IndexFunc(b, func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' && r != '\r' && r != '\n' }) < 0
}
