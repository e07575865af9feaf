package ackwire

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/ackwire/ackwire/schemas/code"
)

// maxErrorBody bounds what is read of an answer that is an error.
const maxErrorBody = 64 << 10

// Content is a job's result, read from the server as it is read here. Close it.
type Content struct {
	io.ReadCloser
	// ContentType is the result's media type: application/json for one that is inline.
	ContentType string
	// Name is the file's name, if the worker gave one.
	Name string
	// Size is in bytes; -1 when the server does not tell.
	Size int64
}

// Result reads a job's result without opening a socket; see Client.Result.
func Result(ctx context.Context, url, jobID string, opts ...Option) (*Content, error) {
	c, err := newClient(url, opts)
	if err != nil {
		return nil, err
	}
	r, err := c.result(ctx, jobID)
	if err != nil {
		c.closeIdle()
		c.cancel()
		return nil, err
	}
	r.ReadCloser = &closer{r.ReadCloser, func() { c.closeIdle(); c.cancel() }}
	return r, nil
}

// Result reads a completed job's result over HTTP, of any size, with the client's identity.
// ctx bounds the reading too. Errors: an *Error with the code invalid_state for a job that
// has no result, not_found, and the others; ctx's; the network's.
func (c *Client) Result(ctx context.Context, jobID string) (*Content, error) {
	if err := c.Err(); err != nil {
		return nil, err
	}
	return c.result(ctx, jobID)
}

func (c *Client) result(ctx context.Context, jobID string) (*Content, error) {
	if err := checkJobID(jobID); err != nil {
		return nil, err
	}
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if token == "" {
		var err error
		if token, err = c.fetchToken(ctx); err != nil {
			return nil, err
		}
	}
	r, err := c.getResult(ctx, jobID, token)
	if c.cfg.renews && CodeOf(err) == code.Unauthenticated {
		if token, err = c.fetchToken(ctx); err == nil {
			r, err = c.getResult(ctx, jobID, token)
		}
	}
	return r, err
}

func (c *Client) getResult(ctx context.Context, jobID, token string) (*Content, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.baseURL+"/v1/jobs/"+url.PathEscape(jobID)+"/result", nil)
	if err != nil {
		return nil, fmt.Errorf("ackwire: result of %s: %w", jobID, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ackwire: result of %s: %w", jobID, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		if err != nil {
			return nil, fmt.Errorf("ackwire: result of %s: %w", jobID, err)
		}
		return nil, httpError(resp, body)
	}
	_, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Disposition")) // absent or broken: no name
	return &Content{ReadCloser: resp.Body, ContentType: resp.Header.Get("Content-Type"), Name: params["filename"], Size: resp.ContentLength}, nil
}

// closer does something more when it is closed.
type closer struct {
	io.ReadCloser
	more func()
}

// Close implements io.Closer.
func (c *closer) Close() error {
	defer c.more()
	return c.ReadCloser.Close()
}
