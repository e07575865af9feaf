package ackwire

import (
	"context"
	"io"
	"mime"
	"net/http"
)

// Content is a job's result or payload as a stream, read from the server as you read it. The caller must close it.
type Content struct {
	io.ReadCloser
	// ContentType is its media type: application/json for a payload, and for a value that the handler returned,
	// any type for a file that it attached.
	ContentType string
	// Name is the file's name, if the worker gave one.
	Name string
	// Size is in bytes; -1 when the server does not say.
	Size int64
}

// result opens a job's result (GET /v1/jobs/{id}/result).
func (r *rest) result(ctx context.Context, jobID string) (*Content, error) {
	return r.content(ctx, "result of ", jobID, "/result")
}

// contentOf returns the body of an answer, which is still to be read.
func contentOf(resp *http.Response) *Content {
	_, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Disposition")) // absent or broken: no name
	return &Content{
		ReadCloser: resp.Body, ContentType: resp.Header.Get("Content-Type"), Name: params["filename"],
		Size: resp.ContentLength,
	}
}
