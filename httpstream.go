package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/stream"
)

// offsetBeginning is the offset of the beginning of a stream (Durable Streams protocol, §6).
const offsetBeginning = "-1"

// streams lists the job's streams (GET /v1/jobs/{id}/streams).
func (r *rest) streams(ctx context.Context, jobID string) (list frame.StreamList, err error) {
	what, path, err := jobPath("streams of ", jobID, "/streams")
	if err == nil {
		err = r.readInto(ctx, what, path, &list)
	}
	return list, err
}

// stream implements transport: it reads with long polls. The first must be answered; after that transient errors are
// retried.
func (c *HTTPClient) stream(ctx context.Context, j *Job, name string, cfg streamConfig) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		p := &streamPoll{api: c.api, jobID: j.ID, name: name, offset: offsetBeginning, at: cfg.from}
		if cfg.given {
			p.offset = cfg.from.Offset()
		}
		answered, failures := false, 0
		for {
			began := time.Now()
			chunk, closed, err := p.next(ctx)
			var pause time.Duration
			switch {
			case err == nil:
				answered, failures = true, 0
				if (len(chunk.Text)+len(chunk.Items) > 0 || chunk.Reset) && !yield(chunk, nil) || closed {
					return
				}
				if chunk.Cursor().At == chunk.From { // a server that drains answers at once: avoid a tight loop
					pause = askAgain - time.Since(began)
				}
			case ctx.Err() != nil:
				yield(Chunk{}, ctx.Err())
				return
			case !answered || !transient(err):
				yield(Chunk{}, err)
				return
			case c.api.cfg.noReconnect:
				yield(Chunk{}, fmt.Errorf("%w: %w", ErrDisconnected, err))
				return
			default:
				pause = c.api.cfg.pauseAfter(err, failures)
				failures++
			}
			if err := sleep(ctx, pause); err != nil {
				yield(Chunk{}, err)
				return
			}
		}
	}
}

// streamPoll is a reader's place in a stream that is read with long polls.
type streamPoll struct {
	api           *rest
	jobID, name   string
	offset, cache string        // of the next request; cache is the protocol's cursor
	at            stream.Cursor // what offset says
	reset         bool          // the next chunk has Reset
}

// next sends one request. closed reports that nothing follows the chunk, which may be empty.
func (p *streamPoll) next(ctx context.Context) (chunk Chunk, closed bool, err error) {
	query := url.Values{"offset": {p.offset}, "live": {"long-poll"}}
	if p.cache != "" {
		query.Set("cursor", p.cache)
	}
	what, path, err := jobPath("stream "+p.name+" of ", p.jobID, "/streams/"+p.name+"?"+query.Encode())
	if err != nil {
		return Chunk{}, false, err
	}
	resp, err := p.api.do(ctx, request{
		what: what, method: http.MethodGet, path: path, header: http.Header{"Accept": {"application/json, text/plain"}},
	})
	if err != nil {
		return Chunk{}, false, err
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusNoContent:
	case http.StatusGone:
		e := refusal(resp)
		if e.Code == code.StreamGone || p.offset == offsetBeginning {
			return Chunk{}, false, e
		}
		p.reset = p.reset || p.at.At > 0
		p.offset, p.cache, p.at = offsetBeginning, "", stream.Cursor{}
		return p.next(ctx)
	default:
		return Chunk{}, false, refusal(resp)
	}
	body, err := readBody(resp, p.api.cfg.readLimit)
	if err != nil {
		return Chunk{}, false, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	chunk, err = p.take(resp.Header, body)
	if err != nil {
		return Chunk{}, false, fmt.Errorf("ackwire: %s: %w", what, err)
	}
	return chunk, resp.Header.Get(stream.HTTPClosed) == "true", nil
}

// take reads an answer and moves on behind it.
func (p *streamPoll) take(header http.Header, body []byte) (Chunk, error) {
	offset := header.Get(stream.HTTPNextOffset)
	next, err := stream.ParseOffset(offset)
	if offset == "" || err != nil && len(body) > 0 {
		return Chunk{}, errors.New("the answer has no offset")
	}
	chunk := Chunk{Reset: p.reset, Run: next.Dispatch, life: next.Life}
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type")) // absent or broken: text
	if len(body) > 0 && kind == "application/json" {
		if err := json.Unmarshal(body, &chunk.Items); err != nil {
			return Chunk{}, errors.New("the answer is not a list of values")
		}
	} else {
		chunk.Text = string(body)
	}
	chunk.From = next.At - int64(len(chunk.Text)+len(chunk.Items))
	goesOn := next.Dispatch == p.at.Dispatch && chunk.From == p.at.At
	begins := next.Dispatch > p.at.Dispatch && chunk.From == 0
	if !goesOn && !begins {
		return Chunk{}, fmt.Errorf("the answer ends at %s, and %s was read", offset, p.offset)
	}
	if begins && p.at.At > 0 {
		chunk.Reset = true
	}
	p.offset, p.cache = offset, header.Get(stream.HTTPCursor)
	p.at, p.reset = next, false
	return chunk, nil
}
