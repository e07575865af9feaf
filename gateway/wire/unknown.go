package wire

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/schemas/frame"
)

// maxUnknown bounds the unknown fields of a submit that are noted.
const maxUnknown = 10

// names returns the names of an object's members, at most maxUnknown. The object is valid, or empty.
func names(object jsontext.Value) (all []string) {
	if len(object) == 0 {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	for len(all) < maxUnknown && dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return all
		}
		all = append(all, name.String())
		if dec.SkipValue() != nil {
			return all
		}
	}
	return all
}

// foreign returns the names of the fields of a submit frame that only other frames have.
func foreign(f *frame.ClientFrame) (all []string) {
	for _, field := range []struct {
		name  string
		there bool
	}{
		{"token", f.Token != ""}, {"jobs", f.Jobs != nil}, {"mine", f.Mine}, {"after", f.After != ""},
		{"jobId", f.JobID != ""}, {"list", f.List != ""}, {"filter", f.Filter != nil},
	} {
		if field.there {
			all = append(all, field.name)
		}
	}
	return all
}
