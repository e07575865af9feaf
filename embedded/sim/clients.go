package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
)

// This file has what clients of the simulated system do.

// Dial connects a client.
func (w *World) Dial() *ackwire.Client {
	w.T.Helper()
	w.clients++
	host := w.Net.Host(fmt.Sprintf("client-%d", w.clients))
	transport := &http.Transport{DialContext: host.Dial}
	c, err := ackwire.Dial(w.ctx(), GatewayURL(0),
		ackwire.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() {
		_ = c.Close()
		transport.CloseIdleConnections()
	})
	return c
}

// NewHTTP returns a client that uses HTTP only.
func (w *World) NewHTTP() *ackwire.HTTPClient {
	w.T.Helper()
	transport := &http.Transport{DialContext: w.Net.Host("http").Dial, DisableKeepAlives: true}
	c, err := ackwire.NewHTTP(GatewayURL(0), ackwire.WithHTTPClient(&http.Client{Transport: transport}))
	if err != nil {
		w.T.Fatal(err)
	}
	return c
}

// HTTP sends a request to the gateway, as tenant Tenant.
func (w *World) HTTP(
	method, path string, header http.Header, body []byte,
) (status int, answer http.Header, content []byte) {
	w.T.Helper()
	transport := &http.Transport{DialContext: w.Net.Host("http-client").Dial, DisableKeepAlives: true}
	r, err := http.NewRequestWithContext(w.ctx(), method, GatewayURL(0)+path, bytes.NewReader(body))
	if err != nil {
		w.T.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		w.T.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if content, err = io.ReadAll(resp.Body); err != nil {
		w.T.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, resp.Header, content
}

// ctx returns a context that bounds one step of a test, in virtual time.
func (w *World) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	w.T.Cleanup(cancel)
	return ctx
}

// Submit submits a job, without an idempotency key unless an option sets one, and returns its handle.
func (w *World) Submit(c *ackwire.Client, jobType, payload string, opts ...ackwire.SubmitOption) *ackwire.Job {
	w.T.Helper()
	opts = append([]ackwire.SubmitOption{ackwire.NoKey()}, opts...)
	j, err := c.Submit(w.ctx(), jobType, json.RawMessage(payload), opts...)
	if err != nil {
		w.T.Fatalf("submit %s: %v", jobType, err)
	}
	return j
}

// WantEnd waits for a job's end and checks how it ended and in which attempt.
func (w *World) WantEnd(what string, c *ackwire.Client, jobID string, state job.State, attempt int) job.Document {
	w.T.Helper()
	var last ackwire.Status
	for s, err := range c.Job(jobID).Watch(w.ctx()) {
		if err != nil {
			w.T.Fatalf("%s: watch %s: %v", what, jobID, err)
		}
		if s.Version <= last.Version {
			w.T.Errorf("%s: version %d after %d", what, s.Version, last.Version)
		}
		last = s
	}
	if last.State != state || last.Attempt != attempt {
		w.T.Errorf("%s: job ended %s in attempt %d, want %s in attempt %d (%+v)", what, last.State, last.Attempt, state,
			attempt, last.Error)
	}
	return last.Document
}
