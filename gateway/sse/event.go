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

// writeStatus writes a status, behind what is in b: the document or the frame as it is.
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

// appendData writes data, which is JSON: its line ends are whitespace between tokens, and
// would each begin a field of their own.
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

// Event is an event without an ID of its own: the client's last one stays.
func Event(name string, v any) []byte {
	data, err := plainjson.Marshal(v)
	if err != nil {
		data = []byte("null")
	}
	return appendData([]byte("event: "+name+"\n"), data)
}

// Retry tells the client how long to wait before it comes back.
func Retry(d time.Duration) []byte {
	return []byte("retry: " + strconv.FormatInt(d.Milliseconds(), 10) + "\n\n")
}
