package ackwiretest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
)

// pollTime is how long a long poll of a stream waits for something new.
const pollTime = 20 * time.Second

// streamRead is a request of the read side of the Durable Streams protocol (§5).
type streamRead struct {
	s    *Server
	r    *record
	name string
	at   stream.Cursor // behind what was read; of run 0 at the beginning
}

// listStreams handles GET /v1/jobs/{id}/streams.
func (s *Server) listStreams(w http.ResponseWriter, q *http.Request) {
	s.mu.Lock()
	r := s.findLocked(whoOf(q), q.PathValue("id"))
	var list frame.StreamList
	if r != nil {
		list = r.list()
	}
	s.mu.Unlock()
	if r == nil {
		problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	answer(w, http.StatusOK, list)
}

// readStream handles GET and HEAD /v1/jobs/{id}/streams/{name}.
func (s *Server) readStream(w http.ResponseWriter, q *http.Request) {
	read := &streamRead{s: s, name: q.PathValue("name")}
	offset, live := q.URL.Query().Get("offset"), q.URL.Query().Get("live")
	s.mu.Lock()
	read.r = s.findLocked(whoOf(q), q.PathValue("id"))
	var now frame.ChunkFrame
	if read.r != nil {
		now = read.r.after(read.name, stream.Cursor{})
	}
	s.mu.Unlock()
	var err error
	switch {
	case read.r == nil:
		err = frame.NewProblem(code.NotFound, "")
	case !job.ValidStream(read.name):
		err = frame.NewProblem(code.InvalidFrame, fmt.Sprintf("%.64q is not the name of a stream", read.name))
	case live != "" && live != "long-poll" && live != "sse" || live != "" && offset == "":
		err = frame.NewProblem(code.InvalidFrame, "live is long-poll or sse, and needs an offset")
	case offset == "now":
		read.at = behind(now)
	case offset != "" && offset != "-1" && offset != (stream.Cursor{}).Offset():
		if read.at, err = stream.ParseOffset(offset); err != nil {
			err = frame.NewProblem(code.InvalidFrame, err.Error())
		}
	}
	switch {
	case err != nil:
		problem(w, err)
	case read.former():
		problem(w, frame.NewProblem(code.StreamReset, ""))
	case live == "sse":
		read.events(w, q)
	default:
		read.once(w, q, live == "long-poll")
	}
}

// former reports whether the cursor belongs to a run that counts no more.
func (read *streamRead) former() bool {
	read.s.mu.Lock()
	defer read.s.mu.Unlock()
	return read.at.Dispatch != 0 && read.at.Dispatch != read.r.dispatch
}

// behind returns the cursor behind a chunk.
func behind(f frame.ChunkFrame) stream.Cursor {
	return stream.Cursor{Dispatch: f.Run, At: f.From + int64(len(f.Text)+len(f.Items))}
}

// next returns what follows the cursor. If wait is positive it waits for it, at most so long. ok is false if the client
// has left or the connection was cut.
func (read *streamRead) next(q *http.Request, wait time.Duration) (f frame.ChunkFrame, ok bool) {
	s := read.s
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		f, changed, cut := read.r.after(read.name, read.at), s.changed, s.cut
		s.mu.Unlock()
		if news(f) || wait <= 0 {
			return f, true
		}
		select {
		case <-changed:
		case <-timeout.C:
			return f, true
		case <-cut:
			return f, false
		case <-q.Context().Done():
			return f, false
		}
	}
}

// once answers a catch-up read or a long poll.
func (read *streamRead) once(w http.ResponseWriter, q *http.Request, poll bool) {
	var wait time.Duration
	if poll {
		wait = pollTime
	}
	f, ok := read.next(q, wait)
	if !ok {
		return
	}
	if f.Reset { // it began while the poll waited
		f = frame.ChunkFrame{Run: read.at.Dispatch, From: read.at.At, Kind: f.Kind}
	}
	h := w.Header()
	h.Set("Stream-Next-Offset", behind(f).Offset())
	h.Set("Stream-Up-To-Date", "true")
	h.Set("Cache-Control", "no-store")
	if poll {
		h.Set("Stream-Cursor", "1")
	}
	if f.End {
		h.Set("Stream-Closed", "true")
	}
	body := []byte(f.Text)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if f.Kind == job.StreamJSON {
		h.Set("Content-Type", "application/json")
		body, _ = plainjson.Marshal(append([]json.RawMessage{}, f.Items...)) // they are JSON
	}
	if poll && len(f.Text)+len(f.Items) == 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_, _ = w.Write(body) // the client has left
}

// events answers with server-sent events until the stream's end, or until another run counts.
func (read *streamRead) events(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for {
		f, ok := read.next(q, pollTime)
		if !ok || f.Reset {
			return // the client comes back, and is answered 410
		}
		var b bytes.Buffer
		switch {
		case f.Text != "":
			b.WriteString("event: data\n")
			for line := range strings.SplitSeq(f.Text, "\n") {
				b.WriteString("data: " + strings.ReplaceAll(line, "\r", "\ndata: ") + "\n")
			}
			b.WriteByte('\n')
		case len(f.Items) > 0:
			items, _ := plainjson.Marshal(f.Items) // they are JSON
			fmt.Fprintf(&b, "event: data\ndata: %s\n\n", items)
		}
		read.at = behind(f)
		control, _ := plainjson.Marshal(struct {
			Next     string `json:"streamNextOffset"`
			Cursor   string `json:"streamCursor"`
			UpToDate bool   `json:"upToDate"`
			Closed   bool   `json:"streamClosed,omitempty"`
		}{read.at.Offset(), "1", true, f.End}) // it always marshals
		fmt.Fprintf(&b, "event: control\ndata: %s\n\n", control)
		if _, err := w.Write(b.Bytes()); err != nil || f.End {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}
