package external

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
	"github.com/ackwire/ackwire/schemas/strict"
)

// Bounds of the bodies that are appended to streams.
const (
	maxAppend      = 2 << 20  // bytes of one body
	maxAppendItems = 65_536   // JSON values in one body
	maxRunBodies   = 8 << 20  // bytes of bodies that one run holds
	maxBodies      = 64 << 20 // bytes of bodies that all runs hold
	leastBody      = 64 << 10 // what a request counts at least, so that the number of requests is bounded, too
)

// refused is an answer that is no success.
type refused struct {
	status int
	code   string
	detail string
	header map[string]string
}

func (r *refused) Error() string { return r.detail }

func refuse(status int, code, format string, args ...any) *refused {
	return &refused{status: status, code: code, detail: fmt.Sprintf(format, args...)}
}

// with adds a header to the answer.
func (r *refused) with(name, value string) *refused {
	if r.header == nil {
		r.header = map[string]string{}
	}
	r.header[name] = value
	return r
}

// kindOf returns the kind of stream that a Content-Type stands for. It returns false for any other type, and for a
// charset that is not UTF-8.
func kindOf(contentType string) (job.StreamKind, bool) {
	t, parameters, err := mime.ParseMediaType(contentType)
	charset := parameters["charset"]
	switch {
	case err != nil || charset != "" && !strings.EqualFold(charset, "utf-8"):
		return "", false
	case t == "text/plain":
		return job.StreamText, true
	case t == "application/json":
		return job.StreamJSON, true
	}
	return "", false
}

// readBody reads a body of at most maxAppend bytes. What it holds counts as held until release is called.
func (s *writeSide) readBody(w http.ResponseWriter, r *http.Request, all *budget) (
	body []byte, release func(), err error) {
	size := r.ContentLength
	if size < 0 {
		size = maxAppend
	}
	size = min(max(size, leastBody), maxAppend)
	if !s.bodies.take(size) {
		return nil, nil, refuse(http.StatusTooManyRequests, codeRateLimited,
			"the run appends to its streams as much as it may at a time").with("Retry-After", "1")
	}
	if !all.take(size) {
		s.bodies.give(size)
		return nil, nil, refuse(http.StatusTooManyRequests, codeRateLimited,
			"the worker's runs append to their streams as much as they may at a time").with("Retry-After", "1")
	}
	release = func() {
		all.give(size)
		s.bodies.give(size)
	}
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxAppend))
	if err == nil {
		return body, release, nil
	}
	release()
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, nil, refuse(http.StatusRequestEntityTooLarge, codeBodyTooLarge, "the body is larger than %d bytes",
			maxAppend)
	}
	return nil, nil, refuse(http.StatusBadRequest, job.CodeInvalidStream, "the body could not be read")
}

// content is what one request appends.
type content struct {
	text  []byte
	items []json.RawMessage
}

func (c *content) empty() bool { return len(c.text)+len(c.items) == 0 }

// parseContent reads a body that is not empty. An array's elements are items, one level deep (§7.1).
func parseContent(kind job.StreamKind, body []byte) (c content, err error) {
	if kind == job.StreamText {
		if !utf8.Valid(body) {
			return c, refuse(http.StatusBadRequest, job.CodeInvalidStream,
				"the text is not UTF-8, or begins or ends within a character")
		}
		return content{text: body}, nil
	}
	if err := strict.Check(body); err != nil {
		return c, refuse(http.StatusBadRequest, job.CodeInvalidStream, "the body %s", err)
	}
	if bytes.TrimLeft(body, " \t\r\n")[0] != '[' { // strict JSON is never empty
		return content{items: []json.RawMessage{body}}, nil
	}
	c.items, err = stream.Items(body)
	switch {
	case err != nil:
		return c, refuse(http.StatusBadRequest, job.CodeInvalidStream, "the body could not be read: %s", err)
	case len(c.items) > maxAppendItems:
		return c, refuse(http.StatusRequestEntityTooLarge, codeBodyTooLarge, "the body has more than %d values",
			maxAppendItems)
	}
	return c, nil
}

// write appends all of it, or nothing, and waits until there is room, but not until it is stored.
func (c *content) write(to *processor.Stream, kind job.StreamKind) error {
	switch {
	case c.empty():
		return nil
	case kind == job.StreamText:
		_, err := to.Write(c.text)
		return answerOf(err)
	}
	return answerOf(to.SendAll(c.items))
}

// answerOf returns the answer to an error of a stream.
func answerOf(err error) error {
	switch code := processor.CodeOf(err); {
	case err == nil:
		return nil
	case code == job.CodeStreamTooLarge:
		return refuse(http.StatusRequestEntityTooLarge, code, "%s", err)
	case code == job.CodeInvalidStream:
		return refuse(http.StatusConflict, code, "%s", err)
	case code == job.CodeStreamNotStored:
		return refuse(http.StatusServiceUnavailable, code, "the piece could not be stored")
	}
	return refuse(http.StatusGone, codeRunEnded, gone)
}
