package ackwire

import (
	"context"
	"io"
	"mime"
	"net/http"
)

// Content is a job's result as a stream, read from the server as you read it. The caller must close it.
type Content struct {
	io.ReadCloser
	// ContentType is the result's media type: application/json for a value that the handler returned,
	// any type for a file that it attached.
	ContentType string
	// Name is the file's name, if the worker gave one.
	Name string
	// Size is in bytes; -1 when the server does not say.
	Size int64
}

// result opens a job's result (GET /v1/jobs/{id}/result).
func (r *rest) result(ctx context.Context, jobID string) (*Content, error) {
	what, path, err := jobPath("result of ", jobID, "/result")
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
	_, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Disposition")) // absent or broken: no name
	return &Content{
		ReadCloser: resp.Body, ContentType: resp.Header.Get("Content-Type"), Name: params["filename"],
		Size: resp.ContentLength,
	}, nil
}
