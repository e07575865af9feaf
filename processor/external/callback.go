package external

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

const callbackPath = "/callback/"

// Callbacks receives the messages of endpoints that have answered 202. Each run has a URL of its own, which cannot be
// guessed.
type Callbacks struct {
	listener net.Listener // nil if the caller's own server is used
	base     string       // prefix of callback URLs, without a slash at its end
	bodies   *budget      // of what is being appended to streams

	mu      sync.Mutex // guards waiting and writing
	waiting map[string]*waiting
	writing map[string]*writeSide
}

// waiting is one run whose outcome will be sent to its callback URL.
type waiting struct {
	callbacks *Callbacks
	token     string
	url       string
	job       *processor.Job
	done      chan word // capacity 1: the outcome
	streams   *writeSide
}

// NewCallbacks returns a receiver of callbacks. base is the URL under which endpoints reach it, such as
// https://workers.example.com; if empty, it is made from l's address. Run serves at l and closes it. With a base l
// may be nil: then the caller's own server must use the Callbacks as its handler of base/callback/, and not call Run.
func NewCallbacks(l net.Listener, base string) (*Callbacks, error) {
	switch {
	case base != "":
		if _, err := service.HTTPURL(base); err != nil {
			return nil, fmt.Errorf("callback URL: %w", err)
		}
	case l == nil:
		return nil, errors.New("callbacks need a listener, or a URL at which they are served")
	default:
		base = "http://" + l.Addr().String()
	}
	return &Callbacks{
		listener: l, base: strings.TrimSuffix(base, "/"), bodies: &budget{max: maxBodies},
		waiting: map[string]*waiting{}, writing: map[string]*writeSide{},
	}, nil
}

// Run serves at the listener until ctx ends, and closes it.
func (c *Callbacks) Run(ctx context.Context) error {
	if c.listener == nil {
		return errors.New("callbacks without a listener are served by another server")
	}
	return service.ServeHTTP(ctx, &http.Server{Handler: c, ReadTimeout: time.Minute}, c.listener)
}

// expect makes a run's callback URL, and the URL at which its streams are written.
func (c *Callbacks) expect(j *processor.Job) *waiting {
	w := &waiting{callbacks: c, token: rand.Text(), job: j, done: make(chan word, 1)}
	w.url = c.base + callbackPath + w.token
	token := rand.Text() // another one: who may write a run's streams may not end the run
	w.streams = newWriteSide(j, token, c.base+streamsPath+token)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[w.token] = w
	c.writing[token] = w.streams
	return w
}

// end removes the run's URLs: later messages to them are answered 410.
func (w *waiting) end() {
	w.callbacks.mu.Lock()
	defer w.callbacks.mu.Unlock()
	delete(w.callbacks.waiting, w.token)
	delete(w.callbacks.writing, w.streams.token)
}

// outcome waits for the endpoint's result or error.
func (w *waiting) outcome(ctx context.Context, timeout time.Duration) (json.RawMessage, error) {
	var late <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		late = t.C
	}
	select {
	case outcome := <-w.done:
		if outcome.Error != nil {
			return nil, outcome.Error.err(end{code: "http_callback"})
		}
		return outcome.Result, nil
	case <-late:
		return nil, processor.WithCode("http_timeout", fmt.Errorf("the endpoint did not call back within %s", timeout))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ServeHTTP handles one message about a run. It answers 204 if the message was accepted; 410 if the run has ended or
// was stopped, so that the endpoint should stop too; 400, 405, 413 or 415 if the request is not valid; and for a
// chunk also 409 (the stream was closed at the write side), 413 (above the run's limits), 422 (not possible for the
// stream) and 503 (not stored: the run fails).
// Progress whose stage or data is not valid is answered 400 with the code invalid_progress: nothing of it is reported,
// and the run goes on. It also serves the write side of the run's streams.
func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, ok := strings.CutPrefix(r.URL.Path, streamsPath); ok {
		c.serveStreams(w, r, rest)
		return
	}
	token, ok := strings.CutPrefix(r.URL.Path, callbackPath)
	switch {
	case !ok:
		problem(w, http.StatusNotFound, "no such route")
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		problem(w, http.StatusMethodNotAllowed, "callbacks are POSTs")
		return
	case !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json"):
		problem(w, http.StatusUnsupportedMediaType, "the body must be application/json")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxResult+1))
	switch {
	case err != nil:
		problem(w, http.StatusBadRequest, "the body could not be read")
		return
	case len(body) > MaxResult:
		problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", MaxResult))
		return
	}
	if err := strict.Check(body); err != nil {
		problem(w, http.StatusBadRequest, "the body "+err.Error())
		return
	}
	message, ok, err := parseWord(body)
	if !ok || err != nil {
		problem(w, http.StatusBadRequest, `the body must be one of {"progress":{…}}, {"result":…}, {"error":{…}}, `+
			`{"stream":…,"text":…} and {"stream":…,"items":[…]}`)
		return
	}
	if message.Chunk != nil {
		c.write(w, token, message.Chunk)
		return
	}
	run := c.take(token, message)
	if run == nil {
		problem(w, http.StatusGone, gone, codeRunEnded)
		return
	}
	if message.Progress != nil {
		if err := message.Progress.tell(run.job); err != nil {
			problem(w, http.StatusBadRequest, err.Error(), processor.CodeInvalidProgress)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

const gone = "the run has ended, or was stopped"

// write passes a chunk to its run, and answers the request when it is written. Chunks wait at the run's rate, each in
// its own request: the run is not locked meanwhile. The outcome of a run ends the wait.
func (c *Callbacks) write(w http.ResponseWriter, token string, chunk *chunk) {
	c.mu.Lock()
	to := c.waiting[token]
	c.mu.Unlock()
	if to == nil {
		problem(w, http.StatusGone, gone, codeRunEnded)
		return
	}
	err := to.streams.write(chunk)
	switch code := processor.CodeOf(err); {
	case err == nil:
		w.WriteHeader(http.StatusNoContent)
	case errors.Is(err, errStreamClosed):
		problem(w, http.StatusConflict, "the stream is closed", codeStreamClosed)
	case code == job.CodeStreamTooLarge:
		problem(w, http.StatusRequestEntityTooLarge, err.Error(), code)
	case code == job.CodeInvalidStream:
		problem(w, http.StatusUnprocessableEntity, err.Error(), code)
	case code == job.CodeStreamNotStored:
		problem(w, http.StatusServiceUnavailable, "the piece could not be stored", code)
	default:
		problem(w, http.StatusGone, gone, codeRunEnded)
	}
}

// take finds the run that a message is for, and passes an outcome to it. It returns nil if there is no such run.
func (c *Callbacks) take(token string, message word) *waiting {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting[token]
	if w != nil && message.Progress == nil {
		delete(c.waiting, token) // only the first outcome counts
		w.done <- message
	}
	return w
}

// problem answers with an error (RFC 9457), which may have a code.
func problem(w http.ResponseWriter, status int, detail string, code ...string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	members := map[string]any{"title": http.StatusText(status), "status": status, "detail": detail}
	for _, c := range code {
		members["code"] = c
	}
	_ = plainjson.Write(w, members)
}
