package stream

import "github.com/ackwire/ackwire/schemas/job"

// Header fields of the Durable Streams protocol (§5). They say where to read on, that there is no more by now, a
// cursor for caches, and that nothing follows.
const (
	HTTPNextOffset = "Stream-Next-Offset"
	HTTPUpToDate   = "Stream-Up-To-Date"
	HTTPCursor     = "Stream-Cursor"
	HTTPClosed     = "Stream-Closed"
)

// ContentType returns the media type by which a stream of a kind is read and written over HTTP.
func ContentType(kind job.StreamKind) string {
	if kind == job.StreamJSON {
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}
