package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"time"
	"unicode/utf8"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/wire"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// A submit over HTTP passes the cheap checks first: who it is from, what it says of itself in its headers, whether the
// tenant's limits let it in. Only then is its body read, its beginning first, which names its type, and the rest up to
// what the type takes.

const (
	bodyOverhead = 16 << 10 // a body holds a payload at its limit and the fields around it
	bodyHead     = 16 << 10 // what is read of a body before its type is looked at

	// What is read of a body that is too large, so that its client gets to the answer.
	discardBytes   = 16 << 20
	discardTimeout = 5 * time.Second
)

// postJob is POST /v1/jobs.
func (g *Gateway) postJob(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	id, ok := g.identify(w, r, auth.Submit)
	if !ok {
		return
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		g.problem(w, frame.NewProblem(code.UnsupportedMediaType, "the body must be application/json"))
		return
	}
	wait, err := preferWait(r)
	if err != nil {
		g.problem(w, err)
		return
	}
	limit := g.cfg.largestBody(g.types)
	length := r.ContentLength
	if length < 0 {
		length = limit // it does not say
	}
	if length > limit {
		g.problem(w, tooLarge(w, r, limit))
		return
	}
	// A client that leaves does not stop its submit.
	ctx := context.WithoutCancel(r.Context())
	held, err := g.hold(ctx, id, length)
	if err != nil {
		g.metrics.submitted(err, 0)
		g.problem(w, err)
		return
	}
	request, err := g.readSubmit(w, r, limit)
	if err != nil {
		held.End(false)
		g.problem(w, err)
		return
	}
	ack, version, err := g.submitHeld(ctx, id, request, held, began)
	if err != nil {
		g.problem(w, err)
		return
	}
	h := w.Header()
	h.Set("Location", ack.StatusURL)
	if wait > 0 && id.May(auth.Read) && g.waitFor(w, r, id, ack.JobID, version, wait) {
		return
	}
	h.Set("Content-Type", "application/json")
	h.Set("Retry-After", "1")
	w.WriteHeader(http.StatusAccepted)
	_ = plainjson.Write(w, ack)
}

// waitFor answers with a job that was submitted, if it ends in time. One that waits counts as a
// session of its user: when that is one too many, the preference is not applied, for the job is there.
func (g *Gateway) waitFor(
	w http.ResponseWriter, r *http.Request, id auth.Identity, jobID string, version int64, wait time.Duration,
) bool {
	if g.limits.OpenSession(id.Tenant, id.Subject) != nil {
		return false
	}
	defer g.limits.CloseSession(id.Tenant, id.Subject)
	w.Header().Set(preferenceApplied, waitApplied(wait))
	ctx, cancel := g.untilDrain(r.Context(), wait)
	defer cancel()
	got, err := g.up.Get(ctx, &trackerpb.GetRequest{
		JobId: jobID, Tenant: id.Tenant, MinVersion: version, UntilTerminal: true,
	})
	if err != nil || !got.Job.Terminal {
		return false
	}
	g.pushJob(w, got.Job)
	return true
}

// readSubmit reads a body: as much as its type takes, or, when its beginning does not name one, as
// much as any does.
func (g *Gateway) readSubmit(w http.ResponseWriter, r *http.Request, limit int64) (frame.SubmitRequest, error) {
	var none frame.SubmitRequest
	var body bytes.Buffer
	_, err := io.CopyN(&body, r.Body, bodyHead)
	if err == nil {
		if name, found := wire.Job(body.Bytes()); found {
			t, known := g.types[name]
			if !known {
				return none, unknownType(name)
			}
			limit = int64(t.MaxPayload + bodyOverhead)
		}
		_, err = io.CopyN(&body, r.Body, limit+1-bodyHead)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		g.metrics.TooSlowToSend()
		return none, frame.NewProblem(code.InvalidFrame, fmt.Sprintf("the body did not come within %s", bodyTimeout))
	case err != nil && !errors.Is(err, io.EOF):
		return none, frame.NewProblem(code.InvalidFrame, "the body could not be read")
	case int64(body.Len()) > limit:
		return none, tooLarge(w, r, limit)
	}
	// Or the body's deadline would end a wait for the job.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	request, err := wire.DecodeSubmit(body.Bytes())
	if err != nil {
		return none, err
	}
	if key := r.Header.Get("Idempotency-Key"); key != "" {
		// The draft makes it a quoted string (RFC 9651); a bare one is taken too.
		key = unquoted(key)
		if !utf8.ValidString(key) {
			return none, frame.NewProblem(code.InvalidFrame, "Idempotency-Key is not UTF-8")
		}
		if request.Key != "" && request.Key != key {
			return none, frame.NewProblem(code.InvalidFrame, "key and Idempotency-Key differ")
		}
		request.Key = key
	}
	if parent := r.Header.Get(frame.TraceparentHeader); tracing.Parse(parent, "").IsValid() {
		request.Traceparent, request.Tracestate = parent, r.Header.Get(frame.TracestateHeader)
	}
	return request, nil
}

// tooLarge refuses a body. A client reads no answer before it has sent its body, or a good part of it.
func tooLarge(w http.ResponseWriter, r *http.Request, limit int64) error {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(discardTimeout))
	_, _ = io.CopyN(io.Discard, r.Body, discardBytes)
	w.Header().Set("Connection", "close")
	return frame.NewProblem(code.PayloadTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
}
