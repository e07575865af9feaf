package api

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const (
	sseBytes        = 32 << 10         // of one event, about
	sseWriteTimeout = 10 * time.Second // a client that reads nothing for so long is too slow
)

// control is the data of an event control (§5.8 of the protocol).
type control struct {
	NextOffset string `json:"streamNextOffset"`
	Cursor     string `json:"streamCursor,omitempty"` // absent once the stream is closed
	UpToDate   bool   `json:"upToDate,omitempty"`
	Closed     bool   `json:"streamClosed,omitempty"`
}

// events writes the events of one stream.
type streamEvents struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	name   string
	cursor int64
	broken error
}

// serveSSE answers live=sse: an event data for each part, and after each an event control. The IDs of events are
// offsets, so that an EventSource goes on where it was. The answer ends with the stream, with the client's token, when
// the gateway drains, or when the stream is reset: the client comes back with its offset, and is told.
func (s *streamRoutes) serveSSE(
	w http.ResponseWriter, r *http.Request, id auth.Identity, jobID string, q question, first *streams.Part,
) {
	if q.resumes && first.End && len(first.Text)+len(first.Items) == 0 {
		w.WriteHeader(http.StatusNoContent) // an EventSource does not reconnect after this (WHATWG HTML §9.2.3)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "private, no-cache, no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx would buffer events
	w.WriteHeader(http.StatusOK)
	e := &streamEvents{w: w, rc: http.NewResponseController(w), name: q.name, cursor: cursorFor(q.cursor)}
	s.cfg.Metrics.eventStreams.Inc()
	why := s.events(r, id, jobID, e, first)
	s.cfg.Metrics.eventStreams.Dec()
	s.cfg.Metrics.eventStreamEnds.WithLabelValues(string(why)).Inc()
	if e.broken == nil { // the server writes the answer's end after this
		_ = e.rc.SetWriteDeadline(time.Now().Add(sseWriteTimeout))
	}
}

// events writes events until the answer ends, and returns why.
func (s *streamRoutes) events(
	r *http.Request, id auth.Identity, jobID string, e *streamEvents, first *streams.Part,
) sse.Why {
	if !e.part(first) {
		return e.lost()
	}
	if first.End {
		return sse.Finished
	}
	t := newTail(s.cfg.Streams, id.Scope(auth.Read), jobID, e.name, first.Next())
	defer t.place.Close()
	keepAlive := time.NewTicker(s.cfg.PingInterval)
	defer keepAlive.Stop()
	var expiring, expired <-chan time.Time
	if !id.Anonymous() {
		warn, over := time.NewTimer(id.UntilWarning()), time.NewTimer(id.UntilOver())
		defer warn.Stop()
		defer over.Stop()
		expiring, expired = warn.C, over.C
	}
	began := first.Next().At > 0
	for {
		part, err := t.try(r.Context(), sseBytes)
		switch {
		case err == nil && part.Error != "":
			e.write(sse.Event("error", frame.NewProblem(part.Error, "")))
			return sse.Finished
		case err == nil && part.Reset && began:
			e.write(sse.Event("error", frame.NewProblem(code.StreamReset, "")))
			return sse.Finished
		case err == nil && !e.part(&part):
			return e.lost()
		case err == nil && part.End:
			return sse.Finished
		case err == nil:
			began = began || part.Next().At > 0
		case !errors.Is(err, errNothing):
			return sse.Left
		}
		var wake <-chan struct{} = t.wake
		if err == nil { // there may be more
			wake = ready
		}
		select {
		case <-expired:
			e.write(sse.Event("error", frame.NewProblem(code.Unauthenticated, "the token has expired")))
			return sse.TokenExpired
		case <-s.cfg.Drain:
			after := time.Duration(rand.Int64N(int64(s.cfg.ReconnectAfter)))
			e.write(append(sse.Retry(after), sse.Event("goaway", frame.GoawayFrame{
				Type: frame.Goaway, Reason: "restart", ReconnectAfter: after.Seconds(),
			})...))
			return sse.Drained
		case <-expiring:
			e.write(sse.Event("expiring", frame.NewExpiring(id.Expires, id.UntilOver())))
		case <-keepAlive.C:
			e.write([]byte(": still here\n\n"))
		case <-r.Context().Done():
			return sse.Left
		case <-wake:
		}
		if e.broken != nil {
			return e.lost()
		}
	}
}

// ready is a channel from which one can always receive.
var ready = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// part writes a part and the control event behind it. Both have the offset behind the part as their ID.
func (e *streamEvents) part(p *streams.Part) bool {
	offset := offsetOf(p.Next())
	var b strings.Builder
	if len(p.Text)+len(p.Items) > 0 {
		body, err := partBody(e.name, p)
		if err != nil {
			e.broken = err
			return false
		}
		b.WriteString("id: " + offset + "\nevent: data\n")
		for line := range strings.SplitSeq(lines.Replace(string(body)), "\n") {
			b.WriteString("data:")
			if strings.HasPrefix(line, " ") {
				b.WriteByte(' ') // one blank after the colon is no part of the data
			}
			b.WriteString(line + "\n")
		}
		b.WriteByte('\n')
	}
	c := control{NextOffset: offset, UpToDate: p.UpToDate, Closed: p.End}
	if !p.End {
		c.Cursor = formatCursor(e.cursor)
	}
	data, err := plainjson.Marshal(c)
	if err != nil {
		e.broken = err
		return false
	}
	b.WriteString("id: " + offset + "\nevent: control\ndata:" + string(data) + "\n\n")
	return e.write([]byte(b.String()))
}

// write writes bytes and flushes them.
func (e *streamEvents) write(b []byte) bool {
	if e.broken = e.rc.SetWriteDeadline(time.Now().Add(sseWriteTimeout)); e.broken == nil {
		if _, e.broken = e.w.Write(b); e.broken == nil {
			e.broken = e.rc.Flush()
		}
	}
	return e.broken == nil
}

// lost returns why a write has failed.
func (e *streamEvents) lost() sse.Why {
	if errors.Is(e.broken, os.ErrDeadlineExceeded) {
		return sse.TooSlow
	}
	return sse.Left
}
