// Package strict checks JSON from outside that is passed on to others: every parser, however strict, reads the JSON
// that it accepts, and in the same way.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/ackwire/ackwire/schemas/internal/scan"
)

// MaxNesting bounds how deeply objects and arrays may be nested. The bound for clients' payloads is the same.
const MaxNesting = 100

// Check returns an error unless b is one JSON value in the strict sense of RFC 7493 (I-JSON): UTF-8 without a byte
// order mark, no duplicate keys, no lone surrogates, no number outside the range of a float64; and not nested deeper
// than MaxNesting. The error's text is a predicate, such as "has a lone surrogate": the caller puts the value's name
// before it.
func Check(b []byte) error {
	if scan.Strict(b) {
		return nil
	}
	return check(b)
}

// check is Check for all JSON, and says what is wrong.
func check(b []byte) error {
	switch {
	case bytes.HasPrefix(b, []byte("\uFEFF")):
		return errors.New("begins with a byte order mark")
	case !utf8.Valid(b):
		return errors.New("is not valid UTF-8")
	case !json.Valid(b):
		return errors.New("is not JSON")
	}
	s := scanner{b: b}
	return s.run()
}

// scanner walks over JSON that is known to be valid.
type scanner struct {
	b     []byte
	i     int
	stack []*names // one per enclosing object or array: an object's keys so far, or nil for an array
	key   bool     // the next string is a key
}

func (s *scanner) run() error {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '{' || c == '[':
			if len(s.stack) == MaxNesting {
				return fmt.Errorf("is nested deeper than %d", MaxNesting)
			}
			var object *names
			if c == '{' {
				object = &names{}
			}
			s.stack, s.key = append(s.stack, object), object != nil
			s.i++
		case c == '}' || c == ']':
			s.stack, s.key = s.stack[:len(s.stack)-1], false
			s.i++
		case c == ',':
			s.key = len(s.stack) > 0 && s.stack[len(s.stack)-1] != nil
			s.i++
		case c == ':':
			s.key = false
			s.i++
		case c == '"':
			if err := s.text(); err != nil {
				return err
			}
		case c == '-' || c >= '0' && c <= '9':
			if err := s.number(); err != nil {
				return err
			}
		default:
			s.i++
		}
	}
	return nil
}

// text skips a string. If it is a key, it checks that the object has no such key yet.
func (s *scanner) text() error {
	end, escaped, err := stringEnd(s.b, s.i)
	if err != nil {
		return err
	}
	raw := s.b[s.i:end]
	s.i = end
	if !s.key {
		return nil
	}
	name := string(raw[1 : len(raw)-1])
	if escaped {
		if err := json.Unmarshal(raw, &name); err != nil {
			return errors.New("has a key that cannot be read")
		}
	}
	if !s.stack[len(s.stack)-1].add(name) {
		return fmt.Errorf("has the key %.64q twice", name)
	}
	return nil
}

// stringEnd returns the index behind the string that starts at i, and whether the string has escapes. It fails for an
// escaped surrogate without its partner.
func stringEnd(b []byte, i int) (end int, escaped bool, err error) {
	for i++; b[i] != '"'; i++ {
		if b[i] != '\\' {
			continue
		}
		escaped = true
		i++
		if b[i] != 'u' {
			continue
		}
		switch r := unit(b[i+1:]); {
		case r >= 0xDC00 && r <= 0xDFFF:
			return 0, true, errors.New("has a lone surrogate")
		case r >= 0xD800 && r <= 0xDBFF:
			rest := b[i+5:]
			if len(rest) < 6 || rest[0] != '\\' || rest[1] != 'u' || unit(rest[2:])&0xFC00 != 0xDC00 {
				return 0, true, errors.New("has a lone surrogate")
			}
			i += 10
		default:
			i += 4
		}
	}
	return i + 1, escaped, nil
}

// unit reads the four hexadecimal digits of an escape.
func unit(b []byte) uint64 {
	n, err := strconv.ParseUint(string(b[:4]), 16, 16)
	if err != nil {
		return 0
	}
	return n
}

// shortNumber is the length below which a number without an exponent is surely in the range of a float64.
const shortNumber = 300

func (s *scanner) number() error {
	start := s.i
	s.i = numberEnd(s.b, s.i)
	token := s.b[start:s.i]
	if len(token) < shortNumber && !bytes.ContainsAny(token, "eE") {
		return nil
	}
	if _, err := strconv.ParseFloat(string(token), 64); err != nil {
		return fmt.Errorf("has a number that is out of range: %.32s", token)
	}
	return nil
}

func numberEnd(b []byte, i int) int {
	for ; i < len(b); i++ {
		switch c := b[i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return i
		}
	}
	return i
}

// names holds the keys of an object so far: in a list while there are few, then in a map.
type names struct {
	few  []string
	many map[string]struct{}
}

const few = 16

// add adds a key and reports whether it is new.
func (n *names) add(name string) bool {
	if n.many != nil {
		_, known := n.many[name]
		n.many[name] = struct{}{}
		return !known
	}
	for _, other := range n.few {
		if other == name {
			return false
		}
	}
	if n.few = append(n.few, name); len(n.few) > few {
		n.many = make(map[string]struct{}, 2*few)
		for _, other := range n.few {
			n.many[other] = struct{}{}
		}
	}
	return true
}
