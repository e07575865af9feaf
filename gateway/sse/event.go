package sse

import (
	"bytes"
	"io"
	"strconv"
	"time"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// writeStatus writes b, and after it an event with the status of f: its document or, in a stream of frames, its frame.
func (s *Stream) writeStatus(w io.Writer, b []byte, f *outbox.Frame) error {
	data := wire.Text(f.Bytes)
	if !s.frames {
		data = wire.Document(f.Bytes, int(f.DocumentSize))
		b = append(b, "event: status\n"...)
	}
	if bytes.ContainsAny(data, "\r\n") {
		_, err := w.Write(appendData(b, data))
		return err
	}
	_, err := w.Write(append(b, "data: "...))
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		_, err = w.Write([]byte("\n\n"))
	}
	return err
}

// appendData appends data, which is JSON, as the data of an event. Line ends in it, which are white space between
// tokens, are replaced by blanks, since in an event stream each would begin a new field.
func appendData(b, data []byte) []byte {
	b = append(b, "data: "...)
	if bytes.ContainsAny(data, "\r\n") {
		data = bytes.Map(func(r rune) rune {
			if r == '\r' || r == '\n' {
				return ' '
			}
			return r
		}, data)
	}
	return append(append(b, data...), "\n\n"...)
}

// Event returns an event without an ID: the client keeps its last one.
func Event(name string, v any) []byte {
	data, err := plainjson.Marshal(v)
	if err != nil {
		data = []byte("null")
	}
	return appendData([]byte("event: "+name+"\n"), data)
}

// Retry returns the line that tells the client how long to wait before it reconnects.
func Retry(d time.Duration) []byte {
	return []byte("retry: " + strconv.FormatInt(d.Milliseconds(), 10) + "\n\n")
}
