package job

import "github.com/ackwire/ackwire/schemas/codec"

var documents = codec.New[Document]()

// Encode returns the JSON encoding of d. It fails for a result that is not JSON, and for a time whose year does not
// have four digits.
func (d *Document) Encode() ([]byte, error) { return documents.Encode(d) }

// DecodeDocument reads a document. Unknown fields are ignored.
func DecodeDocument(b []byte) (Document, error) {
	var d Document
	_, err := documents.Decode(b, &d)
	return d, err
}
