package ackwire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// rest makes HTTP requests with one identity. Client and HTTPClient have one each.
type rest struct {
	// Set by newRest, then only read.
	cfg     *config
	baseURL string // without a slash at its end
	wsURL   string
	http    *http.Client
	own     *http.Transport // nil with WithHTTPClient
	ended   func() error    // the error for every request after the client's end; nil before

	mu      sync.Mutex // guards the fields below
	fetched bool       // token was set, by the token source
	token   string
}

func newRest(url string, opts []Option) (*rest, error) {
	cfg, err := newConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("ackwire: %w", err)
	}
	base, ws, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	r := &rest{cfg: cfg, baseURL: base, wsURL: ws, http: cfg.httpClient, ended: func() error { return nil }}
	if r.http == nil {
		r.own = cfg.transport()
		r.http = &http.Client{Transport: r.own}
	}
	return r, nil
}

func (r *rest) closeIdle() {
	if r.own != nil {
		r.own.CloseIdleConnections()
	}
}

// fetchToken gets a token from the token source and remembers it for HTTP requests.
func (r *rest) fetchToken(ctx context.Context) (string, error) {
	token, err := r.cfg.tokenSource(ctx)
	if err != nil {
		return "", fmt.Errorf("ackwire: token source: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.token, r.fetched = token, true
	return token, nil
}

// tokenMargin is how long a token must still be valid to be sent with a request.
const tokenMargin = 5 * time.Second

// currentToken returns the token to send: the last one fetched, or a new one when that is about to expire.
func (r *rest) currentToken(ctx context.Context) (string, error) {
	r.mu.Lock()
	token, fetched := r.token, r.fetched
	r.mu.Unlock()
	if !fetched {
		return r.fetchToken(ctx)
	}
	if expiry, known := jwtExpiry(token); r.cfg.renews && known && time.Until(expiry) < tokenMargin {
		return r.fetchToken(ctx)
	}
	return token, nil
}

// request is one HTTP request, which may have to be sent twice.
type request struct {
	what   string // names the request in errors
	method string
	path   string
	header http.Header // nil for none
	body   []byte      // nil for none
}

// do sends a request, and once more with a new token when the server refuses the first one (401). It returns any HTTP
// answer, with its body open; errors are ctx's, the client's and the network's.
func (r *rest) do(ctx context.Context, q request) (*http.Response, error) {
	if err := r.ended(); err != nil {
		return nil, err
	}
	token, err := r.currentToken(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := r.send(ctx, q, token)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !r.cfg.renews {
		return resp, err
	}
	token, err = r.fetchToken(ctx)
	if err != nil {
		return resp, nil // the refusal says more
	}
	_ = resp.Body.Close()
	return r.send(ctx, q, token)
}

func (r *rest) send(ctx context.Context, q request, token string) (*http.Response, error) {
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, r.baseURL+q.path, body)
	if err != nil {
		return nil, fmt.Errorf("ackwire: %s: %w", q.what, err)
	}
	if q.header != nil {
		req.Header = q.header.Clone()
	}
	if q.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if req.Header.Get("Accept") == "" {
		req.Header.Set("Accept", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ackwire: %s: %w", q.what, err)
	}
	return resp, nil
}

// maxErrorBody bounds how much of an error's body is read, in bytes.
const maxErrorBody = 64 << 10

// refusal reads the error from an answer and closes its body.
func refusal(resp *http.Response) *Error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // as much as can be read
	return httpError(resp, body)
}

// read sends a GET for a path and returns the answer's header and body; limit bounds the body, in bytes.
func (r *rest) read(ctx context.Context, what, path string, limit int64) (http.Header, []byte, error) {
	resp, err := r.do(ctx, request{what: what, method: http.MethodGet, path: path})
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, refusal(resp)
	}
	body, err := readBody(resp, limit)
	if err != nil {
		return nil, nil, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	return resp.Header, body, nil
}

// readBody reads an answer's whole body and closes it; limit bounds it, in bytes.
func readBody(resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close()
	return readAtMost(resp.Body, limit)
}

// readAtMost reads to the end. More than limit bytes are an error.
func readAtMost(from io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(from, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return b, nil
}

func (r *rest) readInto(ctx context.Context, what, path string, v any) error {
	_, body, err := r.read(ctx, what, path, r.cfg.readLimit)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("ackwire: %s: read answer: %w", what, err)
	}
	return nil
}

// get reads a job's document (GET /v1/jobs/{id}). prefer is a Prefer header, or empty.
func (r *rest) get(ctx context.Context, jobID, prefer string) (Status, error) {
	what, path, err := jobPath("get ", jobID, "")
	if err != nil {
		return Status{}, err
	}
	q := request{what: what, method: http.MethodGet, path: path}
	if prefer != "" {
		q.header = http.Header{"Prefer": {prefer}}
	}
	resp, err := r.do(ctx, q)
	if err != nil {
		return Status{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return Status{}, refusal(resp)
	}
	body, err := readBody(resp, r.cfg.readLimit)
	if err != nil {
		return Status{}, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	etag := strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`)
	version, err := strconv.ParseInt(etag, 10, 64)
	if err != nil {
		return Status{}, fmt.Errorf("ackwire: %s: read ETag %q: %w", what, etag, err)
	}
	st := Status{Version: version, Raw: body}
	if err := json.Unmarshal(body, &st.Document); err != nil {
		return Status{}, fmt.Errorf("ackwire: %s: read document: %w", what, err)
	}
	return st, nil
}

// erase removes an ended job (DELETE /v1/jobs/{id}).
func (r *rest) erase(ctx context.Context, jobID string) error {
	what, path, err := jobPath("erase ", jobID, "")
	if err != nil {
		return err
	}
	resp, err := r.do(ctx, request{what: what, method: http.MethodDelete, path: path})
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusNoContent:
		return refusal(resp)
	}
	return resp.Body.Close()
}

// why reads what a job waits for (GET /v1/jobs/{id}/why).
func (r *rest) why(ctx context.Context, jobID string) (why frame.Why, err error) {
	what, path, err := jobPath("why ", jobID, "/why")
	if err == nil {
		err = r.readInto(ctx, what, path, &why)
	}
	return why, err
}

// deliveries reads a job's webhooks (GET /v1/jobs/{id}/deliveries).
func (r *rest) deliveries(ctx context.Context, jobID string) (d frame.Deliveries, err error) {
	what, path, err := jobPath("deliveries of ", jobID, "/deliveries")
	if err == nil {
		err = r.readInto(ctx, what, path, &d)
	}
	return d, err
}

// jobTypes reads the job types (GET /v1/job-types).
func (r *rest) jobTypes(ctx context.Context) ([]frame.JobType, error) {
	var all frame.JobTypes
	err := r.readInto(ctx, "job types", "/v1/job-types", &all)
	return all.JobTypes, err
}

// jobPath returns the path of a job's resource, and a name for requests to it, for error texts.
func jobPath(what, jobID, rest string) (name, path string, err error) {
	if err := checkJobID(jobID); err != nil {
		return "", "", err
	}
	return what + jobID, "/v1/jobs/" + url.PathEscape(jobID) + rest, nil
}

// transient reports whether a request may succeed when it is sent again: the server said so, or the network failed.
func transient(err error) bool {
	if e, answered := errors.AsType[*Error](err); answered {
		return e.Retryable || e.Code == code.Unavailable
	}
	return !errors.Is(err, ErrClosed)
}
