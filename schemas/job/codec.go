package job

import "github.com/ackwire/ackwire/schemas/codec"

var documents = codec.New[Document]()

// EncodeDocument returns the JSON encoding of a document. It fails for a result that is not JSON, and for a time whose
// year does not have four digits. It is no method, which every type that embeds a document would have, too.
func EncodeDocument(d *Document) ([]byte, error) { return documents.Encode(d) }

// DecodeDocument reads a document. Unknown fields are ignored.
func DecodeDocument(b []byte) (Document, error) {
	var d Document
	_, err := documents.Decode(b, &d)
	return d, err
}
