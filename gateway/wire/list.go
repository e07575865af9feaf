package wire

import (
	"bytes"
	"encoding/json"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// DecodeFilter reads the filter of a watchList frame, which may be absent. A field that a filter does not have is an
// error, for the list would have more jobs than the client wants.
func DecodeFilter(b json.RawMessage) (frame.ListFilter, error) {
	var read struct {
		frame.ListFilter
		Others jsontext.Value `json:",embed"`
	}
	if len(b) == 0 || bytes.Equal(b, []byte("null")) {
		return read.ListFilter, nil
	}
	if err := decode(b, &read); err != nil {
		return frame.ListFilter{}, err
	}
	if unknown := names(read.Others); len(unknown) > 0 {
		return frame.ListFilter{}, invalid("filter has no field %.64q", unknown[0])
	}
	return read.ListFilter, nil
}

// EncodeListRow encodes a change in a list, as a frame.ListRow or a frame.LeftRow. It copies the document without
// reading it.
func EncodeListRow(c *trackerpb.ListChange) []byte {
	var b []byte
	if len(c.Document) == 0 {
		b = append(b, `{"jobId":`...)
		b, _ = jsontext.AppendQuote(b, c.JobId) // the error is of an ID that is not UTF-8, which is mended
		b = append(strconv.AppendInt(append(b, `,"version":`...), c.Version, 10), '}')
		return b
	}
	b = make([]byte, 0, len(c.Document)+48)
	b = strconv.AppendInt(append(b, `{"version":`...), c.Version, 10)
	b = append(append(b, `,"job":`...), c.Document...)
	return append(b, '}')
}

// EncodeListChanged encodes a frame.ListChangedFrame as a WebSocket text frame, of rows of EncodeListRow.
func EncodeListChanged(list string, rows, left [][]byte, again bool, missed int64) []byte {
	b, _ := jsontext.AppendQuote([]byte(`{"type":"listChanged","list":`), list)
	b = appendList(b, `,"rows":[`, rows)
	b = appendList(b, `,"left":[`, left)
	if again {
		b = append(b, `,"again":true`...)
	}
	if missed > 0 {
		b = strconv.AppendInt(append(b, `,"missed":`...), missed, 10)
	}
	b = append(b, '}')
	return append(header(opText, len(b)), b...)
}

func appendList(b []byte, head string, all [][]byte) []byte {
	if len(all) == 0 {
		return b
	}
	return append(append(append(b, head...), bytes.Join(all, []byte(","))...), ']')
}
