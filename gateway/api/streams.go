package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/streams"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

const (
	readBytes    = 256 << 10        // of one answer, about
	longPollTime = 20 * time.Second // after which a long poll is answered without news
)

// streamRoutes are the routes of the streams of one job: the read side of the Durable Streams protocol. An offset is a
// cursor: a run, and a position in what it wrote.
type streamRoutes struct {
	*reads
	follows *follows
}

// getStreams handles GET /v1/jobs/{id}/streams.
func (s *streamRoutes) getStreams(w http.ResponseWriter, r *http.Request) {
	id, jobID, ok := s.reads.reads(w, r)
	if !ok {
		return
	}
	if _, err := readQuery(r); err != nil {
		s.problem(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.cfg.ReadTimeout)
	defer cancel()
	scope := id.Scope(auth.Read)
	got, err := s.cfg.Streamed.ListStreams(ctx, &trackerpb.StreamsRequest{
		JobId: jobID, Tenant: scope.Tenant, Scope: scope.Proto(),
	})
	if err != nil {
		s.problem(w, problem.OfTracker(err))
		return
	}
	list := frame.StreamList{Run: int(got.Dispatch), Streams: []frame.StreamInfo{}}
	for _, one := range got.Streams {
		list.Streams = append(list.Streams, frame.StreamInfo{
			Name: one.Name, Kind: job.StreamKind(one.Kind), Total: one.Total, Ended: one.Ended,
		})
	}
	s.answer(w, list)
}

// question is what a request asks of a stream.
type question struct {
	name    string
	at      stream.Cursor
	now     bool   // only what comes from now on
	named   bool   // the request's URL names a life of the job's ID, a run of it, and a position
	live    string // "", longPoll or sseLive
	cursor  int64  // the client's Stream-Cursor; 0 for none
	resumes bool   // it was asked by an EventSource that goes on (Last-Event-ID)
	values  bool   // the client takes nothing but JSON
}

const (
	longPoll = "long-poll"
	sseLive  = "sse"
)

// readQuestion reads a request for a stream. Parameters that the protocol does not have are passed over, as it demands
// (§5.6 of the protocol).
func readQuestion(r *http.Request) (q question, err error) {
	values := r.URL.Query()
	q.name = r.PathValue("name")
	q.values = takesValues(r.Header)
	offsets, given := values["offset"]
	switch {
	case !job.ValidStream(q.name):
		return q, frame.NewProblem(code.NotFound, "")
	case len(offsets) > 1:
		return q, errOffset("there is more than one offset")
	}
	q.live = values.Get("live")
	switch {
	case q.live != "" && q.live != longPoll && q.live != sseLive:
		return q, frame.NewProblem(code.InvalidFrame, "live is long-poll or sse")
	case q.live == sseLive && r.Header.Get(lastEventID) != "":
		offsets, given, q.resumes = []string{r.Header.Get(lastEventID)}, true, true
	case q.live == longPoll && !given:
		return q, errOffset("a long poll needs an offset")
	case q.live == sseLive && !given:
		return q, errOffset("live=sse needs an offset")
	}
	if q.cursor, err = strconv.ParseInt(values.Get("cursor"), 10, 64); err != nil || q.cursor < 0 {
		q.cursor = 0 // it is only a hint for caches
	}
	switch {
	case !given || offsets[0] == "-1":
		return q, nil
	case offsets[0] == "now":
		q.now = true
		return q, nil
	}
	q.at, err = stream.ParseOffset(offsets[0])
	if err != nil {
		return q, errOffset(err.Error())
	}
	q.named = q.at.At > 0 && q.at.Life != 0 // else the job's next life has another text there
	return q, nil
}

// takesValues reports whether a client takes nothing but JSON: application/json, and none of text/plain and */*.
func takesValues(h http.Header) bool {
	values := false
	for _, list := range h.Values("Accept") {
		for one := range strings.SplitSeq(list, ",") {
			kind, _, _ := strings.Cut(one, ";")
			switch strings.ToLower(strings.TrimSpace(kind)) {
			case "application/json":
				values = true
			case "text/plain", "text/*", "*/*":
				return false
			}
		}
	}
	return values
}

func errOffset(detail string) error { return frame.NewProblem(code.InvalidOffset, detail) }

// getStream handles GET and HEAD /v1/jobs/{id}/streams/{name}.
func (s *streamRoutes) getStream(w http.ResponseWriter, r *http.Request) {
	id, paced, ok := s.follows.follower(w, r)
	if !ok {
		return
	}
	jobID, ok := job.ParseID(r.PathValue("id"))
	if !ok {
		s.problem(w, frame.NewProblem(code.NotFound, ""))
		return
	}
	q, err := readQuestion(r)
	if err == nil {
		err = s.cfg.Limits.Ask(id.Tenant, id.Account(), 1)
	}
	if err != nil {
		s.problem(w, err)
		return
	}
	// What a handler has written may be anything: a browser must not run it as a page, or take it from another site.
	h := w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	switch {
	case r.Method == http.MethodHead:
		q.now, q.named, q.at = true, false, stream.Cursor{}
		s.answerStream(w, r, id, jobID, q)
	case q.live == "":
		s.answerStream(w, r, id, jobID, q)
	default:
		s.live(w, r, id, jobID, q, paced)
	}
}

// read asks the tracker for a part of a stream. The error is one for the client.
func (s *streamRoutes) read(ctx context.Context, scope *auth.Scope, jobID string, q question, limit int) (
	*streams.Part, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ReadTimeout)
	defer cancel()
	at := q.at
	if q.now {
		at = stream.Cursor{At: -1}
	}
	got, err := s.cfg.Streamed.ReadStream(ctx, &trackerpb.ReadStreamRequest{
		JobId: jobID, Tenant: scope.Tenant, Scope: scope.Proto(), Stream: q.name, After: streams.ProtoOf(at),
		MaxBytes: int32(limit),
	})
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		if err != nil {
			return nil, errOffset("")
		}
	}
	if err != nil {
		return nil, problem.OfTracker(err)
	}
	part, err := streams.PartOf(got.Part, at)
	switch {
	case err != nil:
		return nil, err
	case part.Error != "":
		return nil, frame.NewProblem(part.Error, "")
	case part.Reset && at.At > 0:
		return nil, frame.NewProblem(code.StreamReset, "")
	}
	if part.Kind == "" && q.values { // nobody has written to it: to this client it is an empty list
		part.Kind = job.StreamJSON
	}
	return &part, nil
}

// answerStream answers with what there is behind an offset, or with its beginning: the client asks on.
func (s *streamRoutes) answerStream(
	w http.ResponseWriter, r *http.Request, id auth.Identity, jobID string, q question,
) {
	part, err := s.read(r.Context(), id.Scope(auth.Read), jobID, q, readBytes)
	if err != nil {
		s.problem(w, err)
		return
	}
	s.writePart(w, r, q, part)
}

// writePart writes a part as the answer to a request that does not wait.
func (s *streamRoutes) writePart(w http.ResponseWriter, r *http.Request, q question, part *streams.Part) {
	h := w.Header()
	partHead(h, q.name, part)
	switch {
	case r.Method == http.MethodHead, q.now:
		h.Set("Cache-Control", "no-store")
	case q.values && len(part.Text)+len(part.Items) == 0:
		h.Set("Cache-Control", "no-store") // the answer is another one without its Accept
	case q.named && part.End, q.named && !part.UpToDate:
		// What stands behind a position of a run does not change any more.
		h.Set("Cache-Control", "private, max-age=31536000, immutable")
		if !part.End {
			h.Set("Cache-Control", "private, max-age=60")
		}
	default:
		h.Set("Cache-Control", "private, no-cache")
	}
	if !q.now {
		tag := fmt.Sprintf(`"%s:%d:%t"`, part.From.Offset(), part.Next().At, part.End)
		h.Set("ETag", tag)
		if seen(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	body, err := partBody(q.name, part)
	if err != nil {
		s.problem(w, err)
		return
	}
	if r.Method != http.MethodHead {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// partHead sets the headers that each answer with a part has.
func partHead(h http.Header, name string, part *streams.Part) {
	kind := part.Kind
	if isJSON(name, part) {
		kind = job.StreamJSON
	}
	h.Set("Content-Type", stream.ContentType(kind))
	h.Set(stream.HTTPNextOffset, offsetOf(part.Next()))
	if part.UpToDate {
		h.Set(stream.HTTPUpToDate, "true")
	}
	if part.End {
		h.Set(stream.HTTPClosed, "true")
	}
}

// offsetOf returns a cursor as an offset. While no run has begun it is that of the first one: behind an offset at the
// beginning of a run comes what the run that counts has written.
func offsetOf(c stream.Cursor) string {
	c.Dispatch = max(c.Dispatch, 1)
	return c.Offset()
}

// isJSON reports whether a stream is a list of values. While nobody has written to it that is known only of the log.
func isJSON(name string, part *streams.Part) bool {
	return part.Kind == job.StreamJSON || part.Kind == "" && name == job.StreamLog
}

// partBody returns what a part holds: text, or an array of values.
func partBody(name string, part *streams.Part) ([]byte, error) {
	switch {
	case !isJSON(name, part):
		return part.Text, nil
	case len(part.Items) == 0:
		return []byte("[]"), nil
	}
	return plainjson.Marshal(part.Items)
}

// live answers a request that waits for what comes. Like an event stream it counts as a session of its user, and as a
// watch of its tenant.
func (s *streamRoutes) live(w http.ResponseWriter, r *http.Request, id auth.Identity, jobID string, q question,
	paced bool) {
	if !paced {
		if err := s.follows.pace.turn(r.Context()); err != nil {
			s.problem(w, err)
			return
		}
	}
	if err := s.cfg.Limits.OpenSession(id.Tenant, id.Account()); err != nil {
		s.problem(w, err)
		return
	}
	defer s.cfg.Limits.CloseSession(id.Tenant, id.Account())
	if !s.cfg.Limits.Watch(id.Tenant, 1) {
		s.problem(w, frame.NewProblem(code.LimitExceeded, "the tenant watches as many jobs as it may"))
		return
	}
	defer s.cfg.Limits.Watch(id.Tenant, -1)
	// The first part is asked for by itself: so its errors are answers.
	first, err := s.read(r.Context(), id.Scope(auth.Read), jobID, q, readBytes)
	if err != nil {
		s.problem(w, err)
		return
	}
	if q.live == sseLive {
		s.serveSSE(w, r, id, jobID, q, first)
		return
	}
	s.poll(w, r, id, jobID, q, first)
}

// poll answers a long poll: at once if there is something, or the stream has ended, and else when something comes.
func (s *streamRoutes) poll(
	w http.ResponseWriter, r *http.Request, id auth.Identity, jobID string, q question, part *streams.Part,
) {
	if len(part.Text)+len(part.Items) == 0 && !part.End {
		ctx, cancel := s.cfg.untilDrain(r.Context(), longPollTime)
		defer cancel()
		t := newTail(s.cfg.Streams, id.Scope(auth.Read), jobID, q.name, part.Next())
		defer t.place.Close()
		next, err := t.next(ctx, readBytes)
		switch {
		case err == nil && next.Error != "":
			s.problem(w, frame.NewProblem(next.Error, ""))
			return
		case err == nil && next.Reset && part.Next().At > 0:
			s.problem(w, frame.NewProblem(code.StreamReset, ""))
			return
		case err == nil:
			part = &next
		case r.Context().Err() != nil:
			return // the client has left
		}
	}
	h := w.Header()
	partHead(h, q.name, part)
	h.Set("Cache-Control", "no-store")
	if !part.End {
		h.Set(stream.HTTPCursor, formatCursor(cursorFor(q.cursor)))
	}
	if len(part.Text)+len(part.Items) == 0 {
		h.Del("Content-Type")
		h.Set(stream.HTTPUpToDate, "true")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := partBody(q.name, part)
	if err != nil {
		s.problem(w, err)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// The time from which the cursors of the protocol are counted, and their interval (§8.1).
var cursorEpoch = time.Date(2024, 10, 9, 0, 0, 0, 0, time.UTC)

const cursorInterval = 20 * time.Second

// cursorFor returns the next Stream-Cursor of a client: it rises with time, and with each answer.
func cursorFor(was int64) int64 {
	now := int64(time.Since(cursorEpoch) / cursorInterval)
	if was >= now && was < now+1<<32 {
		return was + 1
	}
	return now
}

func formatCursor(c int64) string { return strconv.FormatInt(c, 10) }

// tail waits for what comes in a stream.
type tail struct {
	place *streams.Place
	wake  chan struct{}
}

func newTail(room *streams.Room, scope *auth.Scope, jobID, name string, at stream.Cursor) *tail {
	t := &tail{wake: make(chan struct{}, 1)}
	t.place = room.Open(scope, jobID, name, at, func() {
		select {
		case t.wake <- struct{}{}:
		default:
		}
	})
	return t
}

var errNothing = errors.New("nothing has come")

// try returns what comes next without waiting for more to be written. The error is errNothing if there is nothing.
func (t *tail) try(ctx context.Context, limit int) (streams.Part, error) {
	for {
		part, state := t.place.Take(limit)
		switch state {
		case streams.Some:
			return part, nil
		case streams.Wait:
			return part, errNothing
		}
		if err := t.place.Fetch(ctx, limit); err != nil {
			if ctx.Err() != nil {
				return part, ctx.Err()
			}
			t.place.Failed()
		}
	}
}

// next waits for what comes next. The error is that of ctx.
func (t *tail) next(ctx context.Context, limit int) (streams.Part, error) {
	for {
		part, err := t.try(ctx, limit)
		if !errors.Is(err, errNothing) {
			return part, err
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return part, ctx.Err()
		}
	}
}

// lines replaces the line ends of a text, of which each begins a new line of data in an event stream.
var lines = strings.NewReplacer("\r\n", "\n", "\r", "\n")
