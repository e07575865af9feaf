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
	c, err := newClient(url, opts)
	if err != nil {
		return Status{}, err
	}
	defer c.closeIdle()
	defer c.cancel()
	if _, err := c.fetchToken(ctx); err != nil {
		return Status{}, err
	}
	return c.Get(ctx, jobID)
}

// Get reads a job's document over HTTP (GET /v1/jobs/{id}) with the client's identity. It
// works whether or not the socket is connected. Errors: ErrNotFound and the other codes
// as an *Error; ctx's; the network's.
func (c *Client) Get(ctx context.Context, jobID string) (Status, error) {
	if err := c.Err(); err != nil {
		return Status{}, err
	}
	if err := checkJobID(jobID); err != nil {
		return Status{}, err
	}
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	st, err := c.get(ctx, jobID, token)
	if c.cfg.renews && CodeOf(err) == code.Unauthenticated {
		if token, err = c.fetchToken(ctx); err == nil {
			st, err = c.get(ctx, jobID, token)
		}
	}
	if err != nil {
		return Status{}, err
	}
	return st, nil
}

func (c *Client) get(ctx context.Context, jobID, token string) (Status, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.baseURL+"/v1/jobs/"+url.PathEscape(jobID), nil)
	if err != nil {
		return Status{}, fmt.Errorf("ackwire: get %s: %w", jobID, err)
	}
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Status{}, fmt.Errorf("ackwire: get %s: %w", jobID, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.readLimit+1))
	if err != nil {
		return Status{}, fmt.Errorf("ackwire: get %s: %w", jobID, err)
	}
	if resp.StatusCode != http.StatusOK {
		return Status{}, httpError(resp, body)
	}
	if int64(len(body)) > c.cfg.readLimit {
		return Status{}, fmt.Errorf("ackwire: get %s: the document has more than %d bytes", jobID, c.cfg.readLimit)
	}
	etag := strings.Trim(strings.TrimPrefix(resp.Header.Get("ETag"), "W/"), `"`)
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
