package ackwire

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ackwire/ackwire/schemas/frame"
)

// maxDeadBytes bounds a dead letter that is read, in bytes. Of a record that is no text, each byte takes 4/3 in base64,
// of a text at most six.
const maxDeadBytes = 64 << 20

// DeadLetters lists dead letters (GET /v1/dead): records that a service could not read and has set aside, the newest
// first, without what they hold. limit is the most of a page, 1 to 100, or 0 for 50. cursor is the NextCursor of the
// page before, or empty. The token needs the permission operate.
func (c *HTTPClient) DeadLetters(ctx context.Context, limit int, cursor string) (page frame.DeadLetters, err error) {
	q := url.Values{}
	if limit != 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	path := "/v1/dead"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	err = c.api.readInto(ctx, "dead letters", path, &page)
	return page, err
}

// DeadLetter reads one dead letter by its ID (GET /v1/dead/{id}). The token needs the permission operate, and payloads
// for the record itself, which else is withheld.
func (c *HTTPClient) DeadLetter(ctx context.Context, id string) (record frame.DeadRecord, err error) {
	what := "dead letter " + id
	_, body, err := c.api.read(ctx, what, deadPath(id), maxDeadBytes)
	if err != nil {
		return record, err
	}
	if err := json.Unmarshal(body, &record); err != nil {
		return record, fmt.Errorf("ackwire: %s: read answer: %w", what, err)
	}
	return record, nil
}

// RequeueDead tries a dead letter again (POST /v1/dead/{id}/requeue), after its cause was fixed: a job whose request it
// is gets a new request; any other record is written to its topic again. The error has the code invalid_state if the
// job has ended or does not wait for the request. To do it twice does no harm. The token needs the permission operate.
func (c *HTTPClient) RequeueDead(ctx context.Context, id string) (done frame.DeadRequeued, err error) {
	what := "requeue of dead letter " + id
	resp, err := c.api.do(ctx, request{what: what, method: http.MethodPost, path: deadPath(id) + "/requeue"})
	if err != nil {
		return done, err
	}
	if resp.StatusCode != http.StatusAccepted {
		return done, refusal(resp)
	}
	body, err := readBody(resp, c.api.cfg.readLimit)
	if err != nil {
		return done, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	if json.Unmarshal(body, &done) != nil || done.Outcome == "" {
		return done, fmt.Errorf("ackwire: %s: %w", what, errBadAnswer)
	}
	return done, nil
}

func deadPath(id string) string { return "/v1/dead/" + url.PathEscape(id) }
