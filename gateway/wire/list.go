package wire

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// DecodeFilter reads the filter of a watchList frame, which may be absent, as the parameters of GET /v1/jobs.
func DecodeFilter(b json.RawMessage) (url.Values, error) {
	if len(b) == 0 || bytes.Equal(b, []byte("null")) {
		return url.Values{}, nil
	}
	var read map[string]any
	if err := decode(b, &read); err != nil {
		return nil, err
	}
	filter := url.Values{}
	for name, v := range read {
		switch v := v.(type) {
		case string:
			filter.Add(name, v)
			continue
		case bool:
			filter.Add(name, strconv.FormatBool(v))
			continue
		case []any:
			if addTexts(filter, name, v) {
				continue
			}
		}
		return nil, invalid("filter: %.64q must be a text, a boolean or a list of texts", name)
	}
	return filter, nil
}

func addTexts(filter url.Values, name string, all []any) bool {
	for _, v := range all {
		text, ok := v.(string)
		if !ok {
			return false
		}
		filter.Add(name, text)
	}
	return true
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
