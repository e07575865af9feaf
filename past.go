package ackwire

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/ackwire/ackwire/schemas/frame"
)

// HistoryOptions says which page of a job's history is read. The zero value is the first page.
type HistoryOptions struct {
	// Limit is the most events of a page, 1 to 1,000; 0 means 200. A page may have fewer.
	Limit int
	// Cursor continues a history: the NextCursor of a page of the same job.
	Cursor string
}

// History reads a page of the job's events as they lie in the server's log, the oldest first, with what became of each
// (GET /v1/jobs/{id}/history). A page with a NextCursor is not the last, even if it is empty. Where retention has
// removed the job's first events, Truncated says so. A cursor of another job fails with an *Error with the code
// invalid_frame.
func (j *Job) History(ctx context.Context, o HistoryOptions) (frame.History, error) {
	return j.via.rest().history(ctx, j.ID, o)
}

// Payload opens what was submitted, as it was sent, as a stream of JSON (GET /v1/jobs/{id}/payload). ctx bounds the
// reading too. The token needs the permission payloads. If the payload is not kept any more, it fails with an *Error
// with the code payload_gone.
func (j *Job) Payload(ctx context.Context) (*Content, error) {
	return j.via.rest().content(ctx, "payload of ", j.ID, "/payload")
}

func (r *rest) history(ctx context.Context, jobID string, o HistoryOptions) (h frame.History, err error) {
	what, path, err := jobPath("history of ", jobID, "/history")
	if err != nil {
		return h, err
	}
	query := url.Values{}
	if o.Limit != 0 {
		query.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		query.Set("cursor", o.Cursor)
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	err = r.readInto(ctx, what, path, &h)
	return h, err
}

// content opens the content of a job's resource.
func (r *rest) content(ctx context.Context, what, jobID, rest string) (*Content, error) {
	what, path, err := jobPath(what, jobID, rest)
	if err != nil {
		return nil, err
	}
	resp, err := r.do(ctx, request{what: what, method: http.MethodGet, path: path, header: http.Header{"Accept": {"*/*"}}})
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, refusal(resp)
	}
	return contentOf(resp), nil
}
