package external

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// streamsPath lies below callbackPath, so that who serves callbacks with a server of their own serves streams, too.
const streamsPath = callbackPath + "streams/"

// streamSeq is a header of the write side of the Durable Streams protocol (§5.2).
const streamSeq = "Stream-Seq"

// Codes of the answers of the write side, beside those of job streams.
const (
	codeRunEnded         = "run_ended"
	codeNotFound         = "not_found"
	codeMethodNotAllowed = "method_not_allowed"
	codeMediaType        = "unsupported_media_type"
	codeBodyTooLarge     = "payload_too_large"
	codeRateLimited      = "rate_limited"
	codeLimitExceeded    = "limit_exceeded"
	codeStreamClosed     = "stream_closed"
	codeStreamConflict   = "stream_conflict"
	codeSequenceConflict = "sequence_conflict"
	codeSequenceGap      = "sequence_gap"
	codeProducerFenced   = "producer_fenced"
)

// writeSide is the write side of the Durable Streams protocol for one run: what is appended goes to the run's streams.
// Its URL is a capability of that run. Nothing of it outlives the run, for a new run begins each stream anew.
type writeSide struct {
	// Set before the handler begins, then only read.
	job    *processor.Job
	token  string
	url    string
	bodies budget

	mu        sync.Mutex // guards the fields below; no other lock is taken under it
	streams   map[string]*written
	producers int // of all streams
}

// written is one stream that was created with PUT.
type written struct {
	// Set when it is created, then only read.
	side   *writeSide
	name   string
	kind   job.StreamKind
	stream *processor.Stream

	closed atomic.Bool // it takes no more; set by who has the turn

	// turn has capacity 1: a lock that is held while one request is judged and written, so that requests of a producer
	// are served one after the other. Whether it is stored is waited for without the turn.
	turn      chan struct{}
	dropped   bool // what it was to be created with was refused. Guarded by turn, as all below
	seq       *string
	producers map[string]*producer
}

func newWriteSide(j *processor.Job, token, url string) *writeSide {
	return &writeSide{
		job: j, token: token, url: url, bodies: budget{max: maxRunBodies}, streams: map[string]*written{},
	}
}

// find returns a stream that was created; nil if there is none.
func (s *writeSide) find(name string) *written {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[name]
}

// errStreamClosed is returned for a piece of a stream that was closed at the write side.
var errStreamClosed = errors.New("the stream is closed")

// write appends what an endpoint sends to a stream, by its callback URL or in its answer. It fails for a stream that
// was closed at its write side: the program that closed it relies on its being complete.
func (s *writeSide) write(c *chunk) error {
	if t := s.find(c.Stream); t != nil {
		t.turn <- struct{}{}
		defer func() { <-t.turn }()
		if t.closed.Load() {
			return errStreamClosed
		}
	}
	return c.write(s.job)
}

// serveStreams handles a request for TOKEN/NAME.
func (c *Callbacks) serveStreams(w http.ResponseWriter, r *http.Request, rest string) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	token, name, _ := strings.Cut(rest, "/")
	c.mu.Lock()
	side := c.writing[token]
	c.mu.Unlock()
	var err error
	switch {
	case side == nil:
		err = refuse(http.StatusGone, codeRunEnded, gone)
	case !job.ValidStream(name):
		err = refuse(http.StatusNotFound, codeNotFound, "%.64q is not the name of a stream", name)
	case r.Method == http.MethodHead:
		err = side.head(w, name)
	case r.Method == http.MethodPut:
		err = side.create(w, r, name, c.bodies)
	case r.Method == http.MethodPost:
		err = side.append(w, r, name, c.bodies)
	default:
		h.Set("Allow", "HEAD, POST, PUT")
		err = refuse(http.StatusMethodNotAllowed, codeMethodNotAllowed,
			"a stream is written here, and read at the gateway; it lives as long as its job")
	}
	var no *refused
	if errors.As(err, &no) {
		for name, value := range no.header {
			h.Set(name, value)
		}
		problem(w, no.status, no.detail, no.code)
	}
}

// closes reports whether a request closes its stream.
func closes(r *http.Request) bool { return strings.EqualFold(r.Header.Get(stream.HTTPClosed), "true") }

// tell sets the headers that say how far a stream has come.
func (t *written) tell(h http.Header) {
	h.Set(stream.HTTPNextOffset, t.offset())
	if t.closed.Load() {
		h.Set(stream.HTTPClosed, "true")
	}
}

// offset returns the offset behind what is stored.
func (t *written) offset() string {
	_, end := t.stream.Stored()
	return stream.Cursor{Dispatch: t.side.job.Dispatch, At: end}.Offset()
}

// head answers HEAD: whether there is such a stream, and where it ends.
func (s *writeSide) head(w http.ResponseWriter, name string) error {
	t := s.find(name)
	if t == nil {
		return errNoStream(name)
	}
	h := w.Header()
	h.Set("Content-Type", stream.ContentType(t.kind))
	t.tell(h)
	w.WriteHeader(http.StatusOK)
	return nil
}

func errNoStream(name string) error {
	return refuse(http.StatusNotFound, codeNotFound, "no stream %s was created by this run", name)
}

// create answers PUT (§5.1).
func (s *writeSide) create(w http.ResponseWriter, r *http.Request, name string, all *budget) error {
	for _, option := range []string{"Stream-TTL", "Stream-Expires-At", "Stream-Forked-From", "Stream-Fork-Offset",
		"Stream-Fork-Sub-Offset"} {
		if r.Header.Get(option) != "" {
			return refuse(http.StatusBadRequest, job.CodeInvalidStream,
				"%s: a stream begins empty, and lives as long as its job", option)
		}
	}
	kind := job.StreamText
	if given := r.Header.Get("Content-Type"); given != "" {
		var ok bool
		if kind, ok = kindOf(given); !ok {
			return refuse(http.StatusUnsupportedMediaType, codeMediaType,
				"a stream is text/plain in UTF-8, or application/json")
		}
	}
	body, release, err := s.readBody(w, r, all)
	if err != nil {
		return err
	}
	defer release()
	var c content
	if len(body) > 0 {
		if c, err = parseContent(kind, body); err != nil {
			return err
		}
	}
	to := s.job.Stream(name)
	if err := to.Flush(); err != nil { // its name is not possible, or the run has ended
		return answerOf(err)
	}
	if had, _ := to.Stored(); had != "" && had != kind {
		return refuse(http.StatusConflict, codeStreamConflict, "the stream %s is of the kind %s", name, had)
	}
	t := &written{
		side: s, name: name, kind: kind, stream: to, turn: make(chan struct{}, 1), producers: map[string]*producer{},
	}
	t.turn <- struct{}{}
	if old := s.add(t); old != nil {
		return old.createAgain(w, kind, closes(r))
	}
	err = c.write(to, kind)
	if err != nil {
		s.remove(t)
		t.dropped = true
	} else if closes(r) {
		t.closed.Store(true)
	}
	<-t.turn
	if err == nil {
		err = answerOf(to.Flush())
	}
	if err != nil {
		return err
	}
	w.Header().Set("Location", s.url+"/"+name)
	t.created(w, http.StatusCreated)
	return nil
}

// created answers a PUT that has succeeded.
func (t *written) created(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", stream.ContentType(t.kind))
	t.tell(w.Header())
	w.WriteHeader(status)
}

// createAgain answers a PUT of a stream that there is: with success, if it would make the same one.
func (t *written) createAgain(w http.ResponseWriter, kind job.StreamKind, closed bool) error {
	t.turn <- struct{}{} // until what it is created with is written
	dropped := t.dropped
	<-t.turn
	switch {
	case dropped:
		return errNoStream(t.name)
	case t.kind != kind:
		return refuse(http.StatusConflict, codeStreamConflict, "the stream %s is of the kind %s", t.name, t.kind)
	case t.closed.Load() != closed:
		return refuse(http.StatusConflict, codeStreamConflict, "the stream %s is there, and one of the two is closed",
			t.name)
	}
	if err := t.stream.Flush(); err != nil {
		return answerOf(err)
	}
	t.created(w, http.StatusOK)
	return nil
}

// add adds a stream, unless there is one of its name: that is returned.
func (s *writeSide) add(t *written) *written {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.streams[t.name]; old != nil {
		return old
	}
	s.streams[t.name] = t
	return nil
}

func (s *writeSide) remove(t *written) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, t.name)
}
