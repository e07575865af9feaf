package wire

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/schemas/frame"
)

// headBytes is how much of a frame Head looks at.
const headBytes = 4 << 10

// Head reads the type and the ID of a frame that is refused whatever else it says, as far as its
// beginning has them.
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

// Job reads the job type that a submit names, if it does before its payload.
func Job(b []byte) (job string, found bool) {
	members(b, func(name, value string) bool {
		if name == "job" {
			job, found = value, true
		}
		return !found
	})
	return job, found
}

// members calls each with the members of an object whose values are strings, in their order, as long as it
// says so and what there is of the object is sound.
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
