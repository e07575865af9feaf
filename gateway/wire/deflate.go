package wire

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/flate"
)

// scratch has buffers for compression. Those above maxScratch bytes are not kept.
var scratch = sync.Pool{New: func() any { return new(bytes.Buffer) }}

const maxScratch = 64 << 10

// flushed is the end of a DEFLATE stream after a flush, which is not sent (RFC 7692 §7.2.1).
var flushed = []byte{0x00, 0x00, 0xff, 0xff}

// Deflate returns the compressed form of a text frame of this package (RFC 7692 §7.2.1), which does not depend on
// earlier frames. It returns nil if the compressed form is not smaller, or the frame is not a text frame.
//
// The compressor is stateless. One with state needs 0.8 MB, is not faster for frames of a few KB, and makes them at
// most 2 % smaller.
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

// payload returns the payload of a server's frame.
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
