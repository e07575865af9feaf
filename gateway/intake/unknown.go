package intake

import (
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/text"
)

// Bounds of the text about unknown fields, whose names come from the client.
const (
	maxNamedFields = 5
	maxFieldName   = 32 // characters
)

// unknownFields names fields that a submit does not have. The text is ASCII, since it is a header's value, too.
func unknownFields(names []string) string {
	if len(names) == 0 {
		return ""
	}
	named := make([]string, 0, maxNamedFields)
	for _, name := range names[:min(len(names), maxNamedFields)] {
		named = append(named, strconv.QuoteToASCII(text.Clip(name, maxFieldName)))
	}
	said := "a submit has no field " + strings.Join(named, ", ")
	if more := len(names) - len(named); more > 0 {
		said += " and others"
	}
	return said
}

// checkFields refuses a strict submit with unknown fields.
func checkFields(r frame.SubmitRequest) error {
	if !r.Strict || len(r.Unknown) == 0 {
		return nil
	}
	return frame.NewProblem(code.InvalidFrame, unknownFields(r.Unknown))
}
