package session

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/coder/websocket"

	"github.com/ackwire/ackwire/gateway/outbox"
	"github.com/ackwire/ackwire/gateway/wire"
)

// Compression is permessage-deflate (RFC 7692) for clients that ask for it. Neither side keeps
// a context from one message to the next (§7.1.1), so a socket that rests has no window, and a
// frame that was compressed once serves every socket.
type Compression struct {
	// Set before the first use, then only read.
	Threshold int // frames to clients of fewer bytes are sent as they are
	Sockets   int // that may have it at one time

	taken atomic.Int64 // sockets that have it, or are in a handshake that may give it
}

// NoCompression is why a client that asked for compression does not have it. It is served all
// the same.
type NoCompression string

// The reasons.
const (
	CompressionOff NoCompression = "off"
	TooManySockets NoCompression = "sockets"    // as many have it as may
	BadParameters  NoCompression = "parameters" // it asks for a smaller window, or what nobody knows
)

// NoCompressions are all reasons.
var NoCompressions = []NoCompression{CompressionOff, TooManySockets, BadParameters}

const (
	extension        = "permessage-deflate"
	extensionsHeader = "Sec-WebSocket-Extensions"

	// inflatedPerFrame is how much text counts as one frame of the rate on a socket with
	// compression: its client sends a frame of any size with a few hundred bytes.
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

// offer is what a handshake that asks for compression may be given, and why nothing. What it
// takes is given back by release. A nil Compression is off.
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

// upgrade answers a handshake, and says whether the session has compression.
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

// uncompress gives back what upgrade took, once the session has ended.
func (s *Session) uncompress() {
	if s.deflates {
		s.cfg.Compression.release()
		s.cfg.Metrics.Compressing(-1)
	}
}

// encode appends what goes over the socket, and counts the bytes of what was to be compressed,
// before and after. The first socket to take a frame compresses it: the goroutine that
// writes to it does, and those that write to other sockets wait for as long.
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

// weight is how many frames a message counts as.
func (s *Session) weight(message []byte) int {
	if !s.deflates {
		return 1
	}
	return 1 + len(message)/inflatedPerFrame
}
