package scan

import (
	"hash/maphash"
	"sync"
)

// MaxNesting is how deeply objects and arrays may be nested: as in package strict.
const MaxNesting = 100

// A Scanner scans whole values. It keeps its memory from one value to the next, and is not for several goroutines.
type Scanner struct {
	// Spaced is set when a value has white space outside its strings. The caller clears it.
	Spaced bool

	names []span              // of the objects that are open, one after the other: the first few of each
	many  map[uint64]struct{} // hashes of the names in large objects
	large uint64              // objects so far that have more than few names
}

type span struct{ from, to int }

// Value scans the value that begins at i, within depth objects and arrays.
func (s *Scanner) Value(b []byte, i, depth int) (end int, ok bool) {
	if i >= len(b) {
		return 0, false
	}
	switch c := b[i]; c {
	case '"':
		end, _, ok = Text(b, i)
		return end, ok
	case '{':
		return s.object(b, i, depth+1)
	case '[':
		return s.array(b, i, depth+1)
	case 't':
		return i + 4, Literal(b, i, "true")
	case 'f':
		return i + 5, Literal(b, i, "false")
	case 'n':
		return i + 4, Literal(b, i, "null")
	default:
		return Number(b, i)
	}
}

// space is Space, and notes what it passes over.
func (s *Scanner) space(b []byte, i int) int {
	if i < len(b) && b[i] > ' ' {
		return i
	}
	end := space(b, i)
	s.Spaced = s.Spaced || end > i
	return end
}

func (s *Scanner) array(b []byte, i, depth int) (end int, ok bool) {
	if depth > MaxNesting {
		return 0, false
	}
	i = s.space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1, true
	}
	for {
		if i, ok = s.Value(b, i, depth); !ok {
			return 0, false
		}
		i = s.space(b, i)
		switch {
		case i >= len(b):
			return 0, false
		case b[i] == ']':
			return i + 1, true
		case b[i] != ',':
			return 0, false
		}
		i = s.space(b, i+1)
	}
}

func (s *Scanner) object(b []byte, i, depth int) (end int, ok bool) {
	if depth > MaxNesting {
		return 0, false
	}
	own := names{s: s, first: len(s.names)}
	i = s.space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, true
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return 0, false
		}
		name := span{from: i + 1}
		var escaped bool
		i, escaped, ok = Text(b, i)
		name.to = i - 1
		if !ok || escaped || !own.add(b, name) {
			return 0, false
		}
		i = s.space(b, i)
		if i >= len(b) || b[i] != ':' {
			return 0, false
		}
		if i, ok = s.Value(b, s.space(b, i+1), depth); !ok {
			return 0, false
		}
		i = s.space(b, i)
		switch {
		case i >= len(b):
			return 0, false
		case b[i] == '}':
			s.names = s.names[:own.first]
			return i + 1, true
		case b[i] != ',':
			return 0, false
		}
		i = s.space(b, i+1)
	}
}

// names are those of one object. While there are few, each is compared with all before it. Then only their hashes are
// kept: two names with the same hash count as the same name, which makes the value one that is not accepted.
type names struct {
	s     *Scanner
	first int    // the index of its first in s.names
	large uint64 // the object's number among those with many names; 0 while it has few
}

const few = 16

// add reports whether the object has no such name yet.
func (n *names) add(b []byte, name span) bool {
	s := n.s
	if n.large != 0 {
		return s.remember(n.large, b[name.from:name.to])
	}
	for _, other := range s.names[n.first:] {
		if string(b[other.from:other.to]) == string(b[name.from:name.to]) {
			return false
		}
	}
	s.names = append(s.names, name)
	if len(s.names)-n.first <= few {
		return true
	}
	s.large++
	n.large = s.large
	for _, other := range s.names[n.first:] {
		if !s.remember(n.large, b[other.from:other.to]) {
			return false
		}
	}
	return true
}

var seed = maphash.MakeSeed()

// remember adds a name of a large object, and reports whether it is new.
func (s *Scanner) remember(object uint64, name []byte) bool {
	if s.many == nil {
		s.many = map[uint64]struct{}{}
	}
	const spread = 0x9E3779B97F4A7C15 // makes the same name in two objects two hashes
	before := len(s.many)
	s.many[maphash.Bytes(seed, name)^object*spread] = struct{}{}
	return len(s.many) > before
}

const (
	keptNames  = 1 << 10
	keptHashes = 1 << 12
)

// Reset prepares the scanner for the next message. A scanner that has grown large gives its memory back.
func (s *Scanner) Reset() {
	s.Spaced, s.large, s.names = false, 0, s.names[:0]
	if cap(s.names) > keptNames {
		s.names = nil
	}
	if len(s.many) > keptHashes {
		s.many = nil
	}
	if len(s.many) > 0 {
		clear(s.many)
	}
}

var scanners = sync.Pool{New: func() any { return new(Scanner) }}

// Strict reports whether b is one value that is accepted.
func Strict(b []byte) bool {
	s := scanners.Get().(*Scanner)
	defer scanners.Put(s)
	s.Reset()
	end, ok := s.Value(b, Space(b, 0), 0)
	return ok && Space(b, end) == len(b)
}

// Compact reports whether b is one value that is accepted and has no white space outside its strings.
func Compact(b []byte) bool {
	s := scanners.Get().(*Scanner)
	defer scanners.Put(s)
	s.Reset()
	end, ok := s.Value(b, 0, 0)
	return ok && end == len(b) && !s.Spaced
}
