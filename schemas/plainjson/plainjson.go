// Package plainjson encodes JSON without the escapes that encoding/json makes for HTML. With them each of <, > and &
// takes six bytes, in strings and in every json.RawMessage that passes through json.Marshal: a payload or result at its
// bound would be stored, and sent to everybody who watches, at six times its bound.
//
// All that carries what users wrote is encoded with it. Nothing here is written into a page.
package plainjson

import (
	"bytes"
	"encoding/json"
	"io"
)

// Marshal is json.Marshal without the escapes for HTML.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// Write writes what Marshal makes of v, and a newline.
func Write(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
