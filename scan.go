package ackwire

import (
	"encoding/json"
	"strconv"

	"github.com/ackwire/ackwire/schemas/plainjson"
)

// head holds the fields of a frame that the read goroutine needs. The slices alias the frame. It is scanned by hand and
// not with encoding/json, which keeps the cost of a status frame that is never read (because a newer one replaced it)
// below a microsecond; documents are decoded, and so checked, only when they are yielded.
type head struct {
	typ, id                 []byte
	jobID, state, statusURL []byte
	warning                 []byte // of an ack
	ahead, estimate         []byte // the raw numbers of an ack
	job                     []byte // the raw document of a status
	grant                   []byte // the raw grant of an ack
	version                 int64
	duplicate, mine         bool
}

// scanHead reads the head of one frame. It reports false if the frame is not one JSON object, or a field that it reads
// is not of its type; values that it skips are not checked.
func scanHead(b []byte) (h head, ok bool) {
	s := scanner{b: b}
	ok = s.object(func(key, val []byte) bool {
		switch string(key) {
		case "type":
			h.typ, ok = unquote(val)
		case "id":
			h.id, ok = unquote(val)
		case "jobId":
			h.jobID, ok = unquote(val)
		case "state":
			h.state, ok = unquote(val)
		case "statusUrl":
			h.statusURL, ok = unquote(val)
		case "warning":
			h.warning, ok = unquote(val)
		case "ahead":
			h.ahead, ok = val, true
		case "estimate":
			h.estimate, ok = val, true
		case "version":
			var err error
			h.version, err = strconv.ParseInt(string(val), 10, 64)
			ok = err == nil
		case "duplicate":
			h.duplicate, ok = string(val) == "true", true
		case "mine":
			h.mine, ok = string(val) == "true", true
		case "job":
			h.job, ok = val, true
		case "grant":
			h.grant, ok = val, true
		default:
			ok = true
		}
		return ok
	})
	return h, ok
}

// scanDocument reads the ID and the state of a job's document.
func scanDocument(b []byte) (jobID, state []byte, ok bool) {
	s := scanner{b: b}
	ok = s.object(func(key, val []byte) bool {
		switch string(key) {
		case "jobId":
			jobID, ok = unquote(val)
		case "state":
			state, ok = unquote(val)
		default:
			ok = true
		}
		return ok
	})
	return jobID, state, ok && len(jobID) > 0 && len(state) > 0
}

// scanner walks the members of one JSON object without copying.
type scanner struct {
	b []byte
	i int
}

// object calls field for each member, with its key unquoted and its value raw, until
// field returns false. It reports whether b was one object and nothing else.
func (s *scanner) object(field func(key, val []byte) bool) bool {
	if !s.eat('{') {
		return false
	}
	if s.eat('}') {
		return s.end()
	}
	for {
		s.space()
		raw, ok := s.str()
		if !ok {
			return false
		}
		key, ok := unquote(raw)
		if !ok || !s.eat(':') {
			return false
		}
		val, ok := s.value()
		if !ok || !field(key, val) {
			return false
		}
		switch {
		case s.eat(','):
		case s.eat('}'):
			return s.end()
		default:
			return false
		}
	}
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) eat(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) end() bool {
	s.space()
	return s.i == len(s.b)
}

// str reads a string with its quotes.
func (s *scanner) str() ([]byte, bool) {
	start := s.i
	if start >= len(s.b) || s.b[start] != '"' {
		return nil, false
	}
	for i := start + 1; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '"':
			s.i = i + 1
			return s.b[start:s.i], true
		}
	}
	return nil, false
}

// value reads any value, raw. Nesting is counted, not recursed into.
func (s *scanner) value() ([]byte, bool) {
	s.space()
	if s.i >= len(s.b) {
		return nil, false
	}
	start := s.i
	switch s.b[start] {
	case '"':
		return s.str()
	case '{', '[':
		for depth := 0; s.i < len(s.b); {
			switch s.b[s.i] {
			case '"':
				if _, ok := s.str(); !ok {
					return nil, false
				}
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
				if depth == 0 {
					s.i++
					return s.b[start:s.i], true
				}
			}
			s.i++
		}
		return nil, false
	}
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return s.b[start:s.i], s.i > start
		}
		s.i++
	}
	return nil, false
}

// unquote returns a string's content; only one with escapes is copied.
func unquote(raw []byte) ([]byte, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, false
	}
	for _, c := range raw {
		if c == '\\' {
			var v string
			if json.Unmarshal(raw, &v) != nil {
				return nil, false
			}
			return []byte(v), true
		}
	}
	return raw[1 : len(raw)-1], true
}

// appendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD, as with encoding/json.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := plainjson.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// place reads the ahead and the estimate of an ack. One that is absent, or not a number, is nil.
func (h *head) place() (ahead *int64, estimate *float64) {
	if n, err := strconv.ParseInt(string(h.ahead), 10, 64); err == nil {
		ahead = &n
	}
	if f, err := strconv.ParseFloat(string(h.estimate), 64); err == nil {
		estimate = &f
	}
	return ahead, estimate
}
