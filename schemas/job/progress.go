package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Progress is how far the current attempt has come. A later one replaces it as a whole, except that Percent never
// falls: what a later one does not have, such as a stage, is no longer there.
type Progress struct {
	// Percent is 0 to 100 and never falls within one attempt.
	Percent float64 `json:"percent"`
	Message string  `json:"message,omitempty"`
	// Current and Total are counts in the handler's own unit; an absent Current beside a
	// Total is 0.
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
	// Stage names what the handler is doing, for programs; see ValidStage.
	Stage string `json:"stage,omitempty"`
	// Data is any JSON value, for programs; see CompactProgressData.
	Data json.RawMessage `json:"data,omitempty"`
	// Omitted names the fields that the worker wrote and the tracker left out, because they are not valid: OmittedStage,
	// OmittedData or both, in this order. In an event it has no meaning.
	Omitted []string `json:"omitted,omitempty"`
}

// The fields that Progress.Omitted may name.
const (
	OmittedStage = "stage"
	OmittedData  = "data"
)

// Bounds of a progress's stage and data.
const (
	MaxStageChars   = 64      // of a stage
	MaxProgressData = 4 << 10 // bytes of data, without white space between its tokens
)

// ValidStage reports whether s may be a stage: 1 to MaxStageChars of the characters a-z, 0-9, "_", "." and "-", of
// which the first is a letter or a digit.
func ValidStage(s string) bool {
	const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"
	return s != "" && len(s) <= MaxStageChars && strings.IndexByte(alphanumeric, s[0]) >= 0 &&
		strings.Trim(s, alphanumeric+"_.-") == ""
}

// CompactProgressData returns data as a job's document has it: without white space between its tokens. It fails if data
// is not strict JSON (strict.Check), or is then longer than MaxProgressData. The error's text is a predicate, such as
// "has a lone surrogate": the caller puts the value's name before it.
func CompactProgressData(data []byte) (json.RawMessage, error) {
	if err := strict.Check(data); err != nil {
		return nil, err
	}
	compact, err := plainjson.Marshal(json.RawMessage(data))
	switch {
	case err != nil:
		return nil, errors.New("is not JSON")
	case len(compact) > MaxProgressData:
		return nil, fmt.Errorf("has %d bytes, above the limit of %d", len(compact), MaxProgressData)
	}
	return compact, nil
}

// Settle makes p's data compact, and returns an error if its stage or data is not valid. An empty stage and data of no
// bytes are absent. After an error p is as it was.
func (p *Progress) Settle() error {
	if p.Stage != "" && !ValidStage(p.Stage) {
		return fmt.Errorf("the stage %.80q is not 1 to %d of a-z, 0-9, _, . and -, beginning with a letter or digit",
			p.Stage, MaxStageChars)
	}
	if len(p.Data) == 0 {
		p.Data = nil
		return nil
	}
	data, err := CompactProgressData(p.Data)
	if err != nil {
		return fmt.Errorf("the data %w", err)
	}
	p.Data = data
	return nil
}
