package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/ackwire/ackwire/internal/pause"
)

// firstWait is the wait before a batch is sent for the second time. It doubles with each try, up to lastWait.
const (
	firstWait = time.Second
	lastWait  = 8 * time.Second
)

// Bounds of a collector's answer, in bytes: of what is read, and of what is logged.
const (
	maxAnswer  = 64 << 10
	maxProblem = 512
)

// uploader sends batches of spans to a collector by OTLP over HTTP. It is the client that OpenTelemetry's exporter
// otlptrace takes. OpenTelemetry's own client, otlptracehttp, is not used because it imports gRPC without calling it
// (opentelemetry-go, issue 2579), which every first build of ackwire had to download and compile.
type uploader struct {
	url      string
	header   http.Header
	compress bool
	client   *http.Client

	life context.Context    // ends with Stop
	stop context.CancelFunc // ends life
}

// newUploader makes a client that sends to a collector's URL for traces.
func newUploader(url string, s settings) *uploader {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: s.roots, Certificates: s.certificates}
	c := &uploader{
		url: url, header: s.header, compress: s.compress,
		client: &http.Client{Transport: transport, Timeout: s.timeout},
	}
	c.life, c.stop = context.WithCancel(context.Background())
	return c
}

// Start implements otlptrace.Client. Connections are made when there are spans.
func (c *uploader) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client: what is being sent is given up.
func (c *uploader) Stop(context.Context) error {
	c.stop()
	c.client.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It sends a batch again as long as the collector asks for that
// (OTLP specification, "Failures") and ctx has not ended.
func (c *uploader) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	// TracesData has the one field of an ExportTraceServiceRequest, and thus its encoding. The latter is in
	// a package with gRPC's stubs.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err != nil {
		return err
	}
	if c.compress {
		if body, err = zipped(body); err != nil {
			return err
		}
	}
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		after, err := c.post(ctx, body)
		if err == nil || after == never {
			return err
		}
		jittered := wait/2 + rand.N(wait)
		if !pause.For(ctx, max(after, jittered)) {
			return err
		}
	}
}

func zipped(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// never is returned for an error that another try would not mend.
const never time.Duration = -1

// post sends one batch. With an error it returns how long to wait before the next try, or never.
func (c *uploader) post(ctx context.Context, body []byte) (after time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return never, err
	}
	r.Header = c.header.Clone()
	r.Header.Set("Content-Type", "application/x-protobuf")
	if c.compress {
		r.Header.Set("Content-Encoding", "gzip")
	}
	response, err := c.client.Do(r)
	if err != nil {
		return never, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return never, err
	}
	switch response.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return retryAfter(response.Header.Get("Retry-After")), refused(response.Status, answer)
	}
	if response.StatusCode/100 != 2 {
		return never, refused(response.Status, answer)
	}
	if response.Header.Get("Content-Type") == "application/x-protobuf" {
		return never, partial(answer)
	}
	return 0, nil
}

// refused returns the error for a collector's answer that does not mean success.
func refused(status string, answer []byte) error {
	return fmt.Errorf("the collector answered %s: %q", status, answer[:min(len(answer), maxProblem)])
}

// retryAfter returns the time in a header Retry-After, which holds seconds or a date (RFC 9110, section 10.2.3).
func retryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 16); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(strings.TrimSpace(value))
	if err != nil {
		return 0
	}
	return max(0, time.Until(at))
}

// partial returns an error if an ExportTraceServiceResponse says that spans were refused. Field 1 of that message is
// partial_success, with the fields 1, rejected_spans, and 2, error_message.
func partial(answer []byte) error {
	var count uint64
	var why string
	success, _ := field(answer, 1)
	if b, ok := field(success, 1); ok {
		count, _ = protowire.ConsumeVarint(b)
	}
	if b, ok := field(success, 2); ok {
		why = string(b)
	}
	if count == 0 && why == "" {
		return nil
	}
	return fmt.Errorf("the collector refused %d spans: %.*q", count, maxProblem, why)
}

// field returns the value of a field of an encoded message; of bytes and texts without their length.
func field(message []byte, number protowire.Number) (value []byte, ok bool) {
	for len(message) > 0 {
		n, kind, tag := protowire.ConsumeTag(message)
		if tag < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(n, kind, message[tag:])
		if size < 0 {
			return nil, false
		}
		value, message = message[tag:tag+size], message[tag+size:]
		if n != number {
			continue
		}
		if kind == protowire.BytesType {
			value, _ = protowire.ConsumeBytes(value)
		}
		return value, true
	}
	return nil, false
}
