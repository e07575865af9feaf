package job

import (
	"encoding/json"

	"github.com/ackwire/ackwire/schemas/internal/scan"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// WithoutSubject returns a document without its member subject, for those who may see the job and not whose it is. It
// returns the document itself if that has none, and does not change it.
func WithoutSubject(document []byte) []byte {
	cut, ok := cutMember(document, `"subject"`)
	if ok {
		return cut
	}
	// Not of the form in which this package writes documents.
	var members map[string]json.RawMessage
	if json.Unmarshal(document, &members) != nil {
		return []byte("{}")
	}
	delete(members, "subject")
	slow, err := plainjson.Marshal(members)
	if err != nil {
		return []byte("{}")
	}
	return slow
}

// cutMember removes the member with a name, in quotes, from the object b, or returns b if there is none. It reports
// false for what is not an object without white space before its members and without escapes in their names.
func cutMember(b []byte, name string) (_ []byte, ok bool) {
	if len(b) < 2 || b[0] != '{' {
		return nil, false
	}
	if b[1] == '}' {
		return b, len(b) == 2
	}
	var s scan.Scanner
	for i := 1; i < len(b); {
		if b[i] != '"' {
			return nil, false
		}
		colon, escaped, ok := scan.Text(b, i)
		if !ok || escaped || colon >= len(b) || b[colon] != ':' {
			return nil, false
		}
		end, ok := s.Value(b, colon+1, 1)
		if !ok || end >= len(b) || b[end] != ',' && b[end] != '}' {
			return nil, false
		}
		switch {
		case string(b[i:colon]) != name:
		case b[end] == ',': // with the comma behind it
			return append(append(make([]byte, 0, len(b)), b[:i]...), b[end+1:]...), true
		case i > 1: // with the comma before it
			return append(append(make([]byte, 0, len(b)), b[:i-1]...), b[end:]...), true
		default:
			return []byte("{}"), true
		}
		if b[end] == '}' {
			return b, end == len(b)-1
		}
		i = end + 1
	}
	return nil, false
}
