package ackwire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/job"
)

// HTTPClient does over plain HTTP what a Client does over a socket: for programs that keep no connection open, such
// as a backend that submits now and then, a function that runs for seconds, or a script. Nothing runs in the
// background. It is safe for concurrent use. Make it with [NewHTTP].
//
// A Client is the better choice for many jobs: its acks and statuses share one connection, and it sends keyed submits
// again by itself when that connection is lost.
type HTTPClient struct {
	api *rest
}

// NewHTTP makes a client for the Ackwire at url, which has the same form as in Dial. It does not connect yet: a wrong
// address or token shows with the first request. It fails for a URL or an option that is not valid.
//
// It heeds the options for tokens, the HTTP client or the dialler, the logger, the backoff and the read limit, and
// those that say what they mean over HTTP; options for sockets only change nothing.
func NewHTTP(url string, opts ...Option) (*HTTPClient, error) {
	api, err := newRest(url, opts)
	if err != nil {
		return nil, err
	}
	return &HTTPClient{api: api}, nil
}

// CloseIdleConnections closes connections that are kept for further requests. The client may be used again
// afterwards. It does nothing with WithHTTPClient, whose client has the same method.
func (c *HTTPClient) CloseIdleConnections() { c.api.closeIdle() }

// Submit hands a job to Ackwire (POST /v1/jobs) and returns once it is durable. payload, options and errors are those
// of Client.Submit; NoWatch changes nothing here.
//
// If the server cannot be reached, Submit fails at once: nothing was sent. If the connection is lost after the request
// was sent, or a proxy in between answers (502, 504), the outcome is not known: the submit is repeated until it is
// known or ctx ends; with NoKey the error matches ErrIndeterminate at once.
func (c *HTTPClient) Submit(ctx context.Context, jobType string, payload any, opts ...SubmitOption) (*Job, error) {
	cfg := chosenForSubmit(ctx, opts)
	body, err := cfg.appendBody(jobType, payload, true)
	if err != nil {
		return nil, fmt.Errorf("ackwire: submit %s: %w", jobType, err)
	}
	body[0] = '{' // in place of the comma that follows a frame's id
	q := request{what: "submit " + jobType, method: http.MethodPost, path: "/v1/jobs", body: body}
	if cfg.traceparent != "" {
		q.header = http.Header{frame.TraceparentHeader: {cfg.traceparent}}
		if cfg.tracestate != "" {
			q.header.Set(frame.TracestateHeader, cfg.tracestate)
		}
	}
	return c.api.submitUntilKnown(ctx, context.Background(), cfg.key, func() (*Job, bool, error) {
		ack, unknown, err := c.api.post(ctx, q)
		if err != nil {
			if _, answered := errors.AsType[*Error](err); unknown && !answered {
				err = &IndeterminateError{Key: cfg.key, Err: err}
			}
			return nil, unknown, err
		}
		j := &Job{
			ID: ack.JobID,
			Ack: Ack{
				State: job.State(ack.State), StatusURL: ack.StatusURL, Duplicate: ack.Duplicate, Grant: grantOf(ack.Grant),
				Warning: ack.Warning,
			},
			via: c,
		}
		j.setPlace(ack.Ahead, ack.Estimate)
		return j, false, nil
	})
}

// Job returns a handle for a job by its ID, whichever client of the tenant submitted it. It sends nothing to the
// server: whether there is such a job shows with the first method that is called.
func (c *HTTPClient) Job(id string) *Job { return newJob(c, id) }

// List reads one page of the tenant's jobs; see Client.List.
func (c *HTTPClient) List(ctx context.Context, o ListOptions) (Page, error) {
	return c.api.list(ctx, o)
}

// All lists jobs page after page; see Client.All.
func (c *HTTPClient) All(ctx context.Context, o ListOptions) iter.Seq2[Status, error] {
	return c.api.all(ctx, o)
}

// Stats counts the tenant's jobs; see Client.Stats.
func (c *HTTPClient) Stats(ctx context.Context, opts ...StatsOption) (frame.Stats, error) {
	return c.api.stats(ctx, opts)
}

// JobTypes returns the job types with their rules and JSON Schemas; see Client.JobTypes.
func (c *HTTPClient) JobTypes(ctx context.Context) ([]frame.JobType, error) {
	return c.api.jobTypes(ctx)
}

// Grant makes a grant of what this client may do; see Client.Grant.
func (c *HTTPClient) Grant(ctx context.Context, r GrantRequest) (Grant, error) {
	return c.api.grant(ctx, r)
}

// rest implements transport.
func (c *HTTPClient) rest() *rest { return c.api }

// order implements transport: it sends a cancel or a retry.
func (c *HTTPClient) order(ctx context.Context, kind frame.Type, j *Job) (job.State, error) {
	what, path, err := jobPath(string(kind)+" ", j.ID, "/"+string(kind))
	if err != nil {
		return "", err
	}
	ack, unknown, err := c.api.post(ctx, request{what: what, method: http.MethodPost, path: path})
	if unknown && kind == frame.Retry { // a cancel may safely be sent again
		err = &IndeterminateError{JobID: j.ID, Err: err}
	}
	return job.State(ack.State), err
}

// post sends a request that changes something and reads its ack. unknown reports that the request may have taken
// effect though there was no ack.
func (r *rest) post(ctx context.Context, q request) (ack frame.AckFrame, unknown bool, err error) {
	body, unknown, err := r.postKnown(ctx, q)
	if err != nil {
		return ack, unknown, err
	}
	if json.Unmarshal(body, &ack) != nil || ack.JobID == "" {
		return ack, true, fmt.Errorf("ackwire: %s: %w", q.what, errBadAnswer)
	}
	return ack, false, nil
}

// postKnown is post for a request with another answer, whose body it returns.
func (r *rest) postKnown(ctx context.Context, q request) (body []byte, unknown bool, err error) {
	var sent atomic.Bool // a request that was not sent has no effect
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	resp, err := r.do(ctx, q)
	if err != nil {
		return nil, sent.Load(), err
	}
	if resp.StatusCode != http.StatusAccepted && resp.StatusCode != http.StatusOK {
		e := refusal(resp)
		return nil, e.Code == code.Indeterminate || e.foreign && e.Status >= 500, e
	}
	if body, err = readBody(resp, r.cfg.readLimit); err != nil {
		return nil, true, fmt.Errorf("ackwire: %s: %w", q.what, err)
	}
	return body, false, nil
}
