package wire

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/schemas/frame"
)

// headBytes is how many bytes of a frame Head reads.
const headBytes = 4 << 10

// Head reads only the type and the ID of a frame, if its first bytes contain them. It is for frames that are refused
// anyway.
func Head(b []byte) frame.ClientFrame { return head(b[:min(len(b), headBytes)]) }

func head(b []byte) (f frame.ClientFrame) {
	members(b, func(name, value string) bool {
		switch {
		case name == "type":
			f.Type = frame.Type(value)
		case name == "id" && utf8.RuneCountInString(value) <= frame.MaxIDChars:
			f.ID = value
		}
		return f.Type == "" || f.ID == ""
	})
	return f
}

// Job reads the job type from the beginning of a submit. found is false if the type does not come before the payload.
func Job(b []byte) (job string, found bool) {
	members(b, func(name, value string) bool {
		if name == "job" {
			job, found = value, true
		}
		return !found
	})
	return job, found
}

// members calls each for the members of an object whose values are strings, in order. It stops when each returns false,
// or where the object is cut off or not valid.
func members(b []byte, each func(name, value string) bool) {
	if nesting(b) > frame.MaxNesting {
		return
	}
	dec := jsontext.NewDecoder(bytes.NewReader(b), jsontext.AllowDuplicateNames(true))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return
	}
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return
		}
		key := name.String()
		if dec.PeekKind() != '"' {
			if dec.SkipValue() != nil {
				return
			}
			continue
		}
		value, err := dec.ReadToken()
		if err != nil || !each(key, value.String()) {
			return
		}
	}
}
