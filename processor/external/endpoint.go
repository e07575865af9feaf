package external

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/strict"
	"github.com/ackwire/ackwire/schemas/text"
)

// Endpoint is an HTTP endpoint that handles jobs: the payload is sent to it, and its answer is
// the result. It is safe for concurrent use.
type Endpoint struct {
	url       string
	client    *http.Client
	callbacks *Callbacks // nil: an answer 202 is an error
}

// Bounds of a request.
const (
	dialTimeout     = 5 * time.Second
	idleConnections = 256
	maxHeaderBytes  = 64 << 10
	maxExcerpt      = 256 // bytes of a text answer that become an error's message
)

// NewEndpoint returns an endpoint at an http or https URL. timeout bounds one request, or the
// whole run if the endpoint answers 202; 0 means that only the job's own timeout applies.
// callbacks may be nil.
func NewEndpoint(raw string, timeout time.Duration, callbacks *Callbacks) (*Endpoint, error) {
	u, err := service.HTTPURL(raw)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	return &Endpoint{url: u.String(), callbacks: callbacks, client: &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: idleConnections, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxHeaderBytes,
		},
		// No redirects: a job's payload is sent only to the configured URL.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close ends idle connections.
func (e *Endpoint) Close() { e.client.CloseIdleConnections() }

// Handle is a processor.RawHandler. The body of a 2xx answer is the result. The statuses 408, 425, 429 and 5xx, and a
// request that fails, are retryable, after the time in Retry-After if there is one; all other statuses are permanent,
// unless the error in the body says otherwise. An answer of text/event-stream reports progress and
// writes to streams before its result. 202 means that the endpoint will report the outcome to the callback URL.
// If no connection can be made the job is handed back, which costs no attempt.
func (e *Endpoint) Handle(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	setHeaders(req.Header, j)
	tracing.SetHeaders(ctx, req.Header)
	var w *waiting
	if e.callbacks != nil {
		w = e.callbacks.expect(j)
		defer w.end()
		req.Header.Set("Ackwire-Callback", w.url)
		req.Header.Set("Ackwire-Streams", w.streams.url)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return nil, processor.WithCode("http_timeout", errors.New("the endpoint did not answer in time"))
		}
		unreachable := processor.WithCode(processor.CodeHTTPUnreachable, fmt.Errorf("the endpoint could not be reached: %w",
			unwrapURL(err)))
		if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
			return nil, processor.Unable(unreachable) // no connection: the request was not sent
		}
		return nil, unreachable
	}
	streams := resp.StatusCode >= 200 && resp.StatusCode < 300 && resp.StatusCode != http.StatusAccepted &&
		mediaType(resp) == eventStream
	defer func() {
		if !streams { // an answer of events may go on after its result
			_, _ = io.CopyN(io.Discard, resp.Body, maxHeaderBytes) // so that the connection can be reused
		}
		_ = resp.Body.Close()
	}()
	if streams {
		from := &events{job: j}
		if w != nil {
			from.side = w.streams
		}
		return e.follow(ctx, from, resp)
	}
	if resp.StatusCode == http.StatusAccepted {
		if w == nil {
			return nil, invalidResult("the endpoint answered 202, but this processor does not listen for callbacks")
		}
		return w.outcome(ctx, e.client.Timeout)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxResult+1))
	switch {
	case err != nil:
		return nil, processor.WithCode(processor.CodeHTTPUnreachable, fmt.Errorf("the endpoint's answer broke off: %w", err))
	case len(body) > MaxResult:
		return nil, errTooLarge
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return result(resp, body)
	}
	return nil, refusal(resp, body)
}

// follow reads an answer of events.
func (e *Endpoint) follow(ctx context.Context, from *events, resp *http.Response) (json.RawMessage, error) {
	result, err := from.outcome(resp.Body, resp.StatusCode)
	var broken brokenOff
	if !errors.As(err, &broken) {
		return result, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var timeout net.Error
	if errors.As(broken, &timeout) && timeout.Timeout() {
		return nil, processor.WithCode("http_timeout", errors.New("the endpoint did not end its answer in time"))
	}
	err = fmt.Errorf("the endpoint's answer broke off: %w", broken)
	return nil, processor.WithCode(processor.CodeHTTPUnreachable, err)
}

// mediaType returns the media type of an answer, without its parameters; "" if it has none that is valid.
func mediaType(resp *http.Response) string {
	t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// unwrapURL removes the URL, which may contain a secret, from an error.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// setHeaders sets the headers that describe the job: those of CloudEvents 1.0 in binary mode (HTTP
// protocol binding §3.1) and Ackwire's own.
func setHeaders(h http.Header, j *processor.Job) {
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, "+eventStream)
	h.Set("User-Agent", "ackwire-processor")
	h.Set("Ce-Specversion", "1.0")
	h.Set("Ce-Id", headerValue(j.ID))
	h.Set("Ce-Source", "/ackwire/processor")
	h.Set("Ce-Type", headerValue(j.Type))
	h.Set("Ce-Time", time.Now().UTC().Format(time.RFC3339Nano))
	h.Set("Idempotency-Key", strconv.Quote(j.ID))
	h.Set("Ackwire-Attempt", strconv.Itoa(j.Attempt))
	h.Set("Ackwire-Max-Attempts", strconv.Itoa(j.MaxAttempts))
	h.Set("Ackwire-Dispatch", strconv.Itoa(j.Dispatch))
	h.Set("Ackwire-Run", j.Run)
	h.Set("Ackwire-Tenant", headerValue(j.Tenant))
	if j.Subject != "" {
		h.Set("Ackwire-Subject", headerValue(j.Subject))
	}
	if tags := headerValue(tagsText(j)); tags != "" && len(tags) <= maxTagsHeader {
		h.Set("Ackwire-Tags", tags)
	}
}

// maxTagsHeader bounds the header of a job's tags, in bytes: many servers take no more than 8 KiB of headers.
const maxTagsHeader = 4 << 10

// tagsText returns a job's tags as a JSON object, or nothing if it has none.
func tagsText(j *processor.Job) string {
	if len(j.Tags) == 0 {
		return ""
	}
	b, err := plainjson.Marshal(j.Tags)
	if err != nil { // cannot happen: they are texts
		return ""
	}
	return string(b)
}

// headerValue encodes a value for an HTTP header as CloudEvents requires (HTTP protocol binding §3.1.3.2): all bytes of
// the UTF-8 text except visible ASCII, and the quote and the percent sign, are percent-encoded, so that decoding always
// returns the value.
func headerValue(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func result(resp *http.Response, body []byte) (json.RawMessage, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if t := mediaType(resp); t != "application/json" && !strings.HasSuffix(t, "+json") {
		return nil, invalidResult("the endpoint answered with %q, not with JSON", resp.Header.Get("Content-Type"))
	}
	if err := strict.Check(body); err != nil {
		return nil, invalidResult("the endpoint's answer %w", err)
	}
	if w, ok, err := parseWord(body); ok && err == nil && w.Error != nil {
		return nil, w.Error.err(end{code: "http_" + strconv.Itoa(resp.StatusCode)})
	}
	return body, nil
}

// refusal returns the error of an answer that is not a success. The body may be JSON, as readFailure reads it, or text.
func refusal(resp *http.Response, body []byte) error {
	s := resp.StatusCode
	e := end{
		code: "http_" + strconv.Itoa(s), message: "the endpoint answered " + resp.Status,
		permanent: s < 500 && s != http.StatusRequestTimeout && s != http.StatusTooEarly && s != http.StatusTooManyRequests,
	}
	if after, ok := job.ParseRetryAfter(resp.Header.Get("Retry-After"), time.Now(), job.MaxRetryAfter); ok {
		e.retryAfter = &after
	}
	f := &failure{}
	switch {
	case json.Valid(body):
		f = readFailure(body)
	case strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain"):
		f.message = strings.TrimSpace(text.Clip(string(body), maxExcerpt))
	}
	return f.err(e)
}
