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
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
)

const callbackPath = "/callback/"

// Callbacks is where endpoints that answered 202 tell how their runs go. Each run has a URL
// of its own, which cannot be guessed.
type Callbacks struct {
	listener net.Listener // nil: another server serves
	base     string       // what callback URLs begin with

	mu      sync.Mutex // guards waiting
	waiting map[string]*waiting
}

// waiting is one run whose outcome comes by its callback URL.
type waiting struct {
	callbacks *Callbacks
	token     string
	url       string
	job       *processor.Job
	done      chan word // capacity 1: the outcome
}

// NewCallbacks returns where endpoints call back. base is how they reach it, such as
// https://workers.example.com; empty means l's address. Run serves at l and closes it. l may be nil
// where base is given: a server of the caller's own then has the Callbacks as its handler of
// base/callback/, and Run is not called.
func NewCallbacks(l net.Listener, base string) (*Callbacks, error) {
	switch {
	case base != "":
		if _, err := service.HTTPURL(base); err != nil {
			return nil, fmt.Errorf("callback URL: %w", err)
		}
	case l == nil:
		return nil, errors.New("callbacks need a listener, or a URL where they are served")
	default:
		base = "http://" + l.Addr().String()
	}
	return &Callbacks{listener: l, base: strings.TrimSuffix(base, "/"), waiting: map[string]*waiting{}}, nil
}

// Run serves at the listener until ctx ends, and closes it.
func (c *Callbacks) Run(ctx context.Context) error {
	if c.listener == nil {
		return errors.New("callbacks without a listener are served by another server")
	}
	return service.ServeHTTP(ctx, &http.Server{Handler: c, ReadTimeout: time.Minute}, c.listener)
}

func (c *Callbacks) expect(j *processor.Job) *waiting {
	w := &waiting{callbacks: c, token: rand.Text(), job: j, done: make(chan word, 1)}
	w.url = c.base + callbackPath + w.token
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting[w.token] = w
	return w
}

// end makes the callback URL gone.
func (w *waiting) end() {
	w.callbacks.mu.Lock()
	defer w.callbacks.mu.Unlock()
	delete(w.callbacks.waiting, w.token)
}

// outcome waits for the endpoint's word.
func (w *waiting) outcome(ctx context.Context, timeout time.Duration) (json.RawMessage, error) {
	var late <-chan time.Time
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		late = t.C
	}
	select {
	case said := <-w.done:
		if said.Error != nil {
			return nil, said.Error.err(end{code: "http_callback"})
		}
		return said.Result, nil
	case <-late:
		return nil, processor.WithCode("http_timeout", fmt.Errorf("the endpoint did not call back within %s", timeout))
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ServeHTTP takes one word about a run. Answers: 204 taken; 410 the run has ended or was
// stopped, so the endpoint should stop too; 400, 405, 413 and 415 for what cannot be read.
func (c *Callbacks) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	said, ok, err := parseWord(body)
	if !ok || err != nil {
		problem(w, http.StatusBadRequest, `the body must be one of {"progress":{…}}, {"result":…} and {"error":{…}}`)
		return
	}
	if !c.take(token, said) {
		problem(w, http.StatusGone, "the run has ended, or was stopped")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// take hands a word to its run; false when there is none.
func (c *Callbacks) take(token string, said word) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.waiting[token]
	if w == nil {
		return false
	}
	if said.Progress != nil {
		said.Progress.tell(w.job)
		return true
	}
	delete(c.waiting, token) // the first outcome is the only one
	w.done <- said
	return true
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = plainjson.Write(w, map[string]any{"title": http.StatusText(status), "status": status, "detail": detail})
}
