package session

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
)

// Compression is permessage-deflate (RFC 7692) for clients that ask for it. It is used without context takeover
// (§7.1.1): an idle socket needs no memory for a window, and a frame is compressed once for all sockets.
type Compression struct {
	// Set before the first use, then only read.
	Threshold int // frames of fewer bytes are sent uncompressed
	Sockets   int // how many sockets may have compression at the same time

	taken atomic.Int64 // sockets that have it, or are in a handshake for it
}

// NoCompression is the reason why a client that asked for compression does not get it. It is served without.
type NoCompression string

// The reasons.
const (
	CompressionOff NoCompression = "off"
	TooManySockets NoCompression = "sockets"    // as many sockets have it as may have it
	BadParameters  NoCompression = "parameters" // it asks for a smaller window, or for unknown parameters
)

// NoCompressions are all reasons.
var NoCompressions = []NoCompression{CompressionOff, TooManySockets, BadParameters}

const (
	extension        = "permessage-deflate"
	extensionsHeader = "Sec-WebSocket-Extensions"

	// inflatedPerFrame is how many decompressed bytes count as one frame for the rate of a socket with
	// compression: there a few hundred bytes can be a very large frame.
	inflatedPerFrame = 16 << 10
)

// asksCompression reports whether a handshake offers the extension.
func asksCompression(h http.Header) bool {
	for _, line := range h.Values(extensionsHeader) {
		for offer := range strings.SplitSeq(line, ",") {
			name, _, _ := strings.Cut(offer, ";")
			if strings.TrimSpace(name) == extension {
				return true
			}
		}
	}
	return false
}

// offer returns the compression mode for a handshake that asks for compression, and the reason if the socket ends up
// without it. It takes a place among Sockets unless the mode is disabled; release gives the place back. A nil
// Compression is off.
func (c *Compression) offer() (websocket.CompressionMode, NoCompression) {
	switch {
	case c == nil:
		return websocket.CompressionDisabled, CompressionOff
	case c.taken.Add(1) > int64(c.Sockets):
		c.release()
		return websocket.CompressionDisabled, TooManySockets
	}
	return websocket.CompressionNoContextTakeover, BadParameters // unless the library agrees
}

func (c *Compression) release() { c.taken.Add(-1) }

// upgrade answers a handshake and reports whether compression was negotiated.
func upgrade(
	w http.ResponseWriter, r *http.Request, cfg *Config, o *websocket.AcceptOptions,
) (ws *websocket.Conn, deflates bool, err error) {
	asks := asksCompression(r.Header)
	var why NoCompression
	if asks {
		o.CompressionMode, why = cfg.Compression.offer()
	}
	ws, err = websocket.Accept(w, r, o)
	deflates = err == nil && w.Header().Get(extensionsHeader) != ""
	if o.CompressionMode != websocket.CompressionDisabled && !deflates {
		cfg.Compression.release()
	}
	switch {
	case deflates:
		cfg.Metrics.Compressing(1)
	case asks && err == nil:
		cfg.Metrics.NotCompressing(why)
	}
	return ws, deflates, err
}

// uncompress gives back the session's place among the sockets with compression.
func (s *Session) uncompress() {
	if s.deflates {
		s.cfg.Compression.release()
		s.cfg.Metrics.Compressing(-1)
	}
}

// encode appends frames as they are sent on this socket, and counts the bytes of frames above the threshold, before and
// after compression. The first socket that sends a frame compresses it, for all of them; writers of other sockets wait
// for it.
func (s *Session) encode(b []byte, frames []*outbox.Frame) (_ []byte, before, after int) {
	for _, f := range frames {
		if !s.deflates || len(f.Bytes) < s.cfg.Compression.Threshold {
			b = append(b, f.Bytes...)
			continue
		}
		small := f.Deflated(s.deflate)
		b = append(b, small...)
		before += len(f.Bytes)
		after += len(small)
	}
	return b, before, after
}

func (s *Session) deflate(plain []byte) []byte {
	s.cfg.Metrics.Compressed()
	return wire.Deflate(plain)
}

// weight returns as how many frames a message counts for the rate.
func (s *Session) weight(message []byte) int {
	if !s.deflates {
		return 1
	}
	return 1 + len(message)/inflatedPerFrame
}
