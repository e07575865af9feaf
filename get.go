package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ackwire/ackwire/schemas/code"
)

// Get reads a job's document without opening a socket; see Client.Get. Of the options
// those about tokens, the HTTP client and limits count.
func Get(ctx context.Context, url, jobID string, opts ...Option) (Status, error) {
	return withoutSocket(ctx, url, opts, func(c *Client) (Status, error) { return c.Get(ctx, jobID) })
}

// Get reads a job's document over HTTP (GET /v1/jobs/{id}) with the client's identity. It
// works whether or not the socket is connected. Errors: ErrNotFound and the other codes
// as an *Error; ctx's; the network's.
func (c *Client) Get(ctx context.Context, jobID string) (Status, error) {
	if err := checkJobID(jobID); err != nil {
		return Status{}, err
	}
	header, body, err := c.read(ctx, "get "+jobID, "/v1/jobs/"+url.PathEscape(jobID), c.cfg.readLimit)
	if err != nil {
		return Status{}, err
	}
	etag := strings.Trim(strings.TrimPrefix(header.Get("ETag"), "W/"), `"`)
	version, err := strconv.ParseInt(etag, 10, 64)
	if err != nil {
		return Status{}, fmt.Errorf("ackwire: get %s: read ETag %q: %w", jobID, etag, err)
	}
	st := Status{Version: version, Raw: body}
	if err := json.Unmarshal(body, &st.Document); err != nil {
		return Status{}, fmt.Errorf("ackwire: get %s: read document: %w", jobID, err)
	}
	return st, nil
}

// read gets a path with the client's identity, and once more with a renewed token. what
// names the call in errors; limit bounds the body.
func (c *Client) read(ctx context.Context, what, path string, limit int64) (http.Header, []byte, error) {
	if err := c.Err(); err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	header, body, err := c.readOnce(ctx, what, path, token, limit)
	if c.cfg.renews && CodeOf(err) == code.Unauthenticated {
		if token, err = c.fetchToken(ctx); err == nil {
			header, body, err = c.readOnce(ctx, what, path, token, limit)
		}
	}
	return header, body, err
}

func (c *Client) readOnce(ctx context.Context, what, path, token string, limit int64) (http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.baseURL+path, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("ackwire: %s: %w", what, err)
	case resp.StatusCode != http.StatusOK:
		return nil, nil, httpError(resp, body)
	case int64(len(body)) > limit:
		return nil, nil, fmt.Errorf("ackwire: %s: the answer has more than %d bytes", what, limit)
	}
	return resp.Header, body, nil
}

// withoutSocket makes a client for one question, and asks it.
func withoutSocket[T any](ctx context.Context, url string, opts []Option, ask func(*Client) (T, error)) (none T, _ error) {
	c, err := newClient(url, opts)
	if err != nil {
		return none, err
	}
	defer c.closeIdle()
	defer c.cancel()
	if _, err := c.fetchToken(ctx); err != nil {
		return none, err
	}
	return ask(c)
}
