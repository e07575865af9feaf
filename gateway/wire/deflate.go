package wire

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/flate"
)

// scratch holds what is being compressed. Buffers above maxScratch are not kept.
var scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxScratch = 64 << 10

// flushed is what a DEFLATE stream that was flushed ends with; it is not sent (RFC 7692 §7.2.1).
var flushed = []byte{0x00, 0x00, 0xff, 0xff}

// Deflate makes the compressed form of a text frame of this package (RFC 7692 §7.2.1), which
// needs no context of frames before it; nil where that would not be smaller, or is no text.
//
// The compressor keeps no state: one that does holds 0.8 MB, and is neither faster on frames of
// a few KB nor makes them smaller by more than 2 %.
func Deflate(plain []byte) []byte {
	body := payload(plain)
	if len(body) == 0 || plain[0] != fin|opText {
		return nil
	}
	s := scratch.Get().(*bytes.Buffer)
	defer func() {
		if s.Cap() <= maxScratch {
			scratch.Put(s)
		}
	}()
	s.Reset()
	if flate.StatelessDeflate(s, body, false, nil) != nil { // a buffer takes everything
		return nil
	}
	small, whole := bytes.CutSuffix(s.Bytes(), flushed)
	if !whole || len(small) >= len(body) {
		return nil
	}
	b := header(opText, len(small))
	b[0] |= rsv1
	return append(b, small...)
}

// payload is what follows the header of a server's frame.
func payload(b []byte) []byte {
	if len(b) < 2 {
		return nil
	}
	n, at := uint64(b[1]), 2
	switch n {
	case 126:
		n, at = uint64(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		n, at = binary.BigEndian.Uint64(b[2:]), 10
	}
	return b[at : at+int(n)]
}
