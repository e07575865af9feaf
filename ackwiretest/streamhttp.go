package ackwiretest

import (
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

// streamCursor is the protocol's cursor (§8.1), for caches: there are none.
const streamCursor = "1"

// streamRead is a request of the read side of the Durable Streams protocol (§5).
type streamRead struct {
	s       *Server
	r       *record
	name    string
	at      stream.Cursor // behind what was read; of run 0 at the beginning
	now     bool          // only what comes from now on
	live    string        // "", long-poll or sse
	resumes bool          // an EventSource goes on (Last-Event-ID)
	named   bool          // the request names a position
}

// listStreams handles GET /v1/jobs/{id}/streams.
func (s *Server) listStreams(w http.ResponseWriter, q *http.Request) {
	if q.URL.RawQuery != "" {
		problem(w, frame.NewProblem(code.InvalidFrame, "there are no parameters"))
		return
	}
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
	w.Header().Set("Cache-Control", "no-cache")
	answer(w, http.StatusOK, list)
}

// readStream handles GET and HEAD /v1/jobs/{id}/streams/{name}.
func (s *Server) readStream(w http.ResponseWriter, q *http.Request) {
	read := &streamRead{s: s, name: q.PathValue("name")}
	err := read.question(q)
	if err == nil {
		s.mu.Lock()
		read.r = s.findLocked(whoOf(q), q.PathValue("id"))
		s.mu.Unlock()
		if read.r == nil {
			err = frame.NewProblem(code.NotFound, "")
		}
	}
	if err != nil {
		problem(w, err)
		return
	}
	f := read.look()
	switch {
	case f.Error != "":
		problem(w, frame.NewProblem(f.Error, ""))
	case f.Reset && read.at.At > 0:
		problem(w, frame.NewProblem(code.StreamReset, ""))
	case read.live == "":
		read.once(w, q, f)
	case read.live == "long-poll":
		read.poll(w, q, f)
	case read.resumes && f.End && len(f.Text)+len(f.Items) == 0:
		w.WriteHeader(http.StatusNoContent) // an EventSource does not come back after this
	default:
		read.events(w, q, f)
	}
}

// question reads the request.
func (read *streamRead) question(q *http.Request) (err error) {
	refuse := func(detail string) error { return frame.NewProblem(code.InvalidOffset, detail) }
	offsets, given := q.URL.Query()["offset"]
	read.live = q.URL.Query().Get("live")
	last := q.Header.Get("Last-Event-ID")
	switch {
	case !job.ValidStream(read.name):
		return frame.NewProblem(code.NotFound, "")
	case len(offsets) > 1:
		return refuse("there is more than one offset")
	case read.live != "" && read.live != "long-poll" && read.live != "sse":
		return frame.NewProblem(code.InvalidFrame, "live is long-poll or sse")
	case read.live == "sse" && last != "":
		offsets, given, read.resumes = []string{last}, true, true
	case read.live != "" && !given:
		return refuse("live needs an offset")
	}
	switch {
	case q.Method == http.MethodHead:
		read.now, read.live = true, ""
	case !given || offsets[0] == "-1":
	case offsets[0] == "now":
		read.now = true
	default:
		if read.at, err = stream.ParseOffset(offsets[0]); err != nil {
			return refuse(err.Error())
		}
		read.named = read.at.At > 0
	}
	return nil
}

// look returns what follows the cursor by now. A cursor at the beginning of a run is that of the run that counts.
func (read *streamRead) look() frame.ChunkFrame {
	read.s.mu.Lock()
	defer read.s.mu.Unlock()
	return read.lookLocked()
}

func (read *streamRead) lookLocked() frame.ChunkFrame {
	at := read.at
	if at.At == 0 {
		at.Dispatch = 0
	}
	if read.now {
		at = stream.Cursor{Dispatch: read.r.dispatch, At: read.r.streams[read.name].total()}
	}
	return read.r.after(read.name, at)
}

// next waits until there is something new, at most so long. ok is false if the client has left or the connection was
// cut.
func (read *streamRead) next(q *http.Request, wait time.Duration) (f frame.ChunkFrame, ok bool) {
	s := read.s
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		f, changed, cut := read.lookLocked(), s.changed, s.cut
		s.mu.Unlock()
		if news(f) {
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

// behind returns the cursor behind a chunk. While no run has begun it is that of the first one.
func behind(f frame.ChunkFrame) stream.Cursor {
	at := behindOf(f)
	at.Dispatch = max(at.Dispatch, 1)
	return at
}

// head sets the headers that each answer with a chunk has.
func (read *streamRead) head(h http.Header, f frame.ChunkFrame) {
	kind := f.Kind
	if read.isJSON(f) {
		kind = job.StreamJSON
	}
	h.Set("Content-Type", stream.ContentType(kind))
	h.Set(stream.HTTPNextOffset, behind(f).Offset())
	if read.upToDate(f) {
		h.Set(stream.HTTPUpToDate, "true")
	}
	if f.End {
		h.Set(stream.HTTPClosed, "true")
	}
}

// isJSON reports whether a stream is a list of values. While nobody has written to it that is known only of the log.
func (read *streamRead) isJSON(f frame.ChunkFrame) bool {
	return f.Kind == job.StreamJSON || f.Kind == "" && read.name == job.StreamLog
}

// upToDate reports whether all was told: it was, unless the cursor is of a run that has not begun.
func (read *streamRead) upToDate(f frame.ChunkFrame) bool {
	read.s.mu.Lock()
	defer read.s.mu.Unlock()
	return f.Run == read.r.dispatch
}

func (read *streamRead) body(f frame.ChunkFrame) []byte {
	if !read.isJSON(f) {
		return []byte(f.Text)
	}
	b, _ := plainjson.Marshal(append([]json.RawMessage{}, f.Items...)) // they are JSON
	return b
}

// once answers with what there is.
func (read *streamRead) once(w http.ResponseWriter, q *http.Request, f frame.ChunkFrame) {
	h := w.Header()
	read.head(h, f)
	switch {
	case read.now:
		h.Set("Cache-Control", "no-store")
	case read.named && f.End:
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
	case read.named && !read.upToDate(f):
		h.Set("Cache-Control", "private, max-age=60")
	default:
		h.Set("Cache-Control", "private, no-cache")
	}
	if !read.now {
		tag := fmt.Sprintf(`"%d:%d:%d:%t"`, f.Run, f.From, behind(f).At, f.End)
		h.Set("ETag", tag)
		if q.Header.Get("If-None-Match") == tag {
			h.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = w.Write(read.body(f)) // the client has left
}

// poll answers a long poll.
func (read *streamRead) poll(w http.ResponseWriter, q *http.Request, f frame.ChunkFrame) {
	if len(f.Text)+len(f.Items) == 0 && !f.End {
		read.at, read.now = behind(f), false
		next, ok := read.next(q, pollTime)
		switch {
		case !ok:
			return
		case next.Error != "":
			problem(w, frame.NewProblem(next.Error, ""))
			return
		case next.Reset && read.at.At > 0:
			problem(w, frame.NewProblem(code.StreamReset, ""))
			return
		}
		f = next
	}
	h := w.Header()
	read.head(h, f)
	h.Set("Cache-Control", "no-store")
	if !f.End {
		h.Set(stream.HTTPCursor, streamCursor)
	}
	if len(f.Text)+len(f.Items) == 0 {
		h.Del("Content-Type")
		h.Set(stream.HTTPUpToDate, "true")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	_, _ = w.Write(read.body(f)) // the client has left
}

// events answers with server-sent events until the stream's end, or until another run counts.
func (read *streamRead) events(w http.ResponseWriter, q *http.Request, f frame.ChunkFrame) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "private, no-cache, no-store")
	for first, ok := true, true; ok; f, ok = read.next(q, pollTime) {
		if !first && !news(f) {
			continue
		}
		first = false
		why := f.Error
		if f.Reset && read.at.At > 0 {
			why = code.StreamReset
		}
		if why != "" {
			b, _ := plainjson.Marshal(frame.NewProblem(why, "")) // it always marshals
			_, _ = fmt.Fprintf(w, "event: error\ndata: %s\n\n", b)
			return
		}
		text := read.event(f)
		read.at, read.now = behind(f), false
		if _, err := w.Write([]byte(text)); err != nil || f.End || http.NewResponseController(w).Flush() != nil {
			return
		}
	}
}

// event returns a chunk as an event data, unless it is empty, and an event control. Both have the offset as their ID.
func (read *streamRead) event(f frame.ChunkFrame) string {
	var b strings.Builder
	offset := behind(f).Offset()
	if len(f.Text)+len(f.Items) > 0 {
		b.WriteString("id: " + offset + "\nevent: data\n")
		text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(read.body(f)))
		for line := range strings.SplitSeq(text, "\n") {
			if strings.HasPrefix(line, " ") {
				line = " " + line // one blank after the colon is no part of the data
			}
			b.WriteString("data:" + line + "\n")
		}
		b.WriteByte('\n')
	}
	cursor := streamCursor
	if f.End {
		cursor = ""
	}
	control, _ := plainjson.Marshal(struct {
		Next     string `json:"streamNextOffset"`
		Cursor   string `json:"streamCursor,omitempty"`
		UpToDate bool   `json:"upToDate,omitempty"`
		Closed   bool   `json:"streamClosed,omitempty"`
	}{offset, cursor, read.upToDate(f), f.End}) // it always marshals
	b.WriteString("id: " + offset + "\nevent: control\ndata:" + string(control) + "\n\n")
	return b.String()
}
