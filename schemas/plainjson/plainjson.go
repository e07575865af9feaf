// Package plainjson encodes JSON without the HTML escapes of encoding/json. These make each <, > and & six bytes
// long, in strings and in every json.RawMessage that passes through json.Marshal: a payload or result could be
// stored, and sent to all watchers, at six times its limit.
//
// Use it for everything that contains data of users. The result must not be embedded in an HTML page.
package plainjson

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/ackwire/ackwire/schemas/internal/scan"
)

// Marshal is like json.Marshal, but without HTML escapes.
func Marshal(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok && scan.Compact(raw) {
		return bytes.Clone(raw), nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Write writes the encoding of v, as Marshal returns it, and a newline.
func Write(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
