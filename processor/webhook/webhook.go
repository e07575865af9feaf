package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"code.dny.dev/ssrf"
	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/internal/tracing"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/internal/bridge"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/webhook"
)

const (
	attemptTimeout = 20 * time.Second
	dialTimeout    = 5 * time.Second
	maxAnswer      = 64 << 10 // bytes that are read of an answer's body, so that the connection can be reused
	maxRetryAfter  = 4 * time.Hour
)

// Error codes of a delivery that failed.
const (
	CodeRejected    = "webhook_rejected"    // the endpoint answered, but not with 2xx
	CodeGone        = "webhook_gone"        // the endpoint answered 410 (Gone): the delivery is not tried again
	CodeUnreachable = "webhook_unreachable" // the endpoint did not answer
	CodeBlocked     = "webhook_blocked"     // the endpoint's address, port or scheme is not allowed
	// With the following codes the delivery is handed back, which costs no attempt: no call was made.
	CodePaused   = processor.CodeWebhookPaused   // the endpoint failed too often and is paused
	CodeNoSecret = processor.CodeWebhookNoSecret // this worker has no secret of the tenant to sign with
	CodeBusy     = processor.CodeWebhookBusy     // the endpoint, or its tenant, uses its whole share of the slots
)

var codes = []string{CodeRejected, CodeGone, CodeUnreachable, CodeBlocked, CodePaused, CodeNoSecret, CodeBusy}

const delivered = "delivered"

// deliverer sends webhooks.
type deliverer struct {
	cfg       Config
	client    *http.Client
	endpoints endpoints
	turns     *turns
	outcomes  *prometheus.CounterVec
	seconds   prometheus.Histogram
	changed   func() // is called when another place is paused; nil without a processor
}

// Register makes the processor deliver webhooks: it registers the handler of topic.WebhookType, and its metrics in
// the processor's registry (processor.WithMetrics). The processor must take jobs from the lane topic.WebhookLane. It
// returns an error if cfg has neither keys nor secrets. Like processor.Handle it must be called before Run, and only
// once.
func Register(p *processor.Processor, cfg Config) error {
	d, err := newDeliverer(cfg, p.Slots())
	if err != nil {
		return err
	}
	if err := bridge.Register(p, d.register); err != nil {
		return err
	}
	d.changed = bridge.Paused(p, d.endpoints.list)
	processor.HandleRaw(p, topic.WebhookType, d.deliver)
	return nil
}

// newDeliverer returns a deliverer for a lane with that number of slots. Its metrics are made by register.
func newDeliverer(cfg Config, slots int) (*deliverer, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if len(cfg.Keys) == 0 && len(cfg.Secrets) == 0 {
		return nil, errors.New("webhooks need secrets to be signed with: webhook-key-file or webhook-secrets-file")
	}
	d := &deliverer{cfg: cfg, endpoints: endpoints{failed: map[place]*health{}}, turns: newTurns(slots)}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: guard(cfg).Safe}
	d.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // a proxy would resolve the name itself, and so bypass the guard
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    dialTimeout,
			MaxIdleConns:           100,
			MaxIdleConnsPerHost:    2,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxAnswer,
			DisableCompression:     true,
			ForceAttemptHTTP2:      true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d, nil
}

// register makes the deliverer's metrics.
func (d *deliverer) register(r prometheus.Registerer) {
	m := meter.New(r, "processor")
	outcomes := []string{delivered}
	for _, c := range codes {
		outcomes = append(outcomes, strings.TrimPrefix(c, "webhook_"))
	}
	d.outcomes = m.Counters("webhook_attempts_total", "Attempts to deliver a webhook, by outcome.",
		"outcome", outcomes...)
	d.seconds = m.Histogram("webhook_answer_seconds", "How long endpoints took to answer a webhook.",
		[]float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 20})
	m.GaugeFunc("webhook_endpoints_paused",
		"Paths of endpoints, and hosts that accept no connections, that this process does not call for a while because "+
			"they failed several times in a row.", func() float64 { return float64(d.endpoints.paused()) })
}

// guard checks the address to which a name was resolved, at the moment of dialling. It refuses addresses that are not
// public (private, loopback, link-local, multicast, mapped, NAT64 …), unless cfg allows them.
func guard(cfg Config) *ssrf.Guardian {
	ports := ssrf.WithPorts(cfg.Ports...)
	if slices.Contains(cfg.Ports, 0) {
		ports = ssrf.WithAnyPort()
	}
	var v4, v6 []netip.Prefix
	for _, p := range cfg.Allow {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	return ssrf.New(ports, ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))
}

// deliver is the handler of topic.WebhookType.
func (d *deliverer) deliver(ctx context.Context, j *processor.Job, payload []byte) (json.RawMessage, error) {
	var r webhook.Request
	err := json.Unmarshal(payload, &r)
	if err == nil {
		err = webhook.CheckURL(r.URL)
	}
	if err != nil {
		return nil, processor.Permanent(fmt.Errorf("decode webhook: %w", err))
	}
	result, code, err := d.attempt(ctx, j, r)
	if err != nil {
		d.outcomes.WithLabelValues(strings.TrimPrefix(code, "webhook_")).Inc()
		return nil, processor.WithCode(code, err)
	}
	d.outcomes.WithLabelValues(delivered).Inc()
	return result, nil
}

// attempt makes one delivery attempt. The checks that need no call come first: scheme, secrets, share of the slots, and
// pause. Without an error its result is the job's; else code says what went wrong.
func (d *deliverer) attempt(
	ctx context.Context, j *processor.Job, r webhook.Request,
) (result json.RawMessage, code string, err error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, CodeBlocked, processor.Permanent(err)
	}
	if !slices.Contains(d.cfg.Schemes, u.Scheme) {
		return nil, CodeBlocked, processor.Permanent(fmt.Errorf("scheme %q is not allowed", u.Scheme))
	}
	signers := d.cfg.signers(j.Tenant)
	if len(signers) == 0 {
		return nil, CodeNoSecret, processor.Unable(errors.New("the tenant has no secret to sign with"))
	}
	p := place{j.Tenant, u.Scheme + "://" + u.Host, "/" + strings.TrimPrefix(u.EscapedPath(), "/")}
	done, ok := d.turns.take(ctx, p)
	if !ok {
		return nil, CodeBusy, processor.Unable(
			errors.New("the endpoint, or the tenant, has as many deliveries under way as it may have"))
	}
	defer done()
	if wait := d.endpoints.wait(p); wait > 0 {
		return nil, CodePaused, processor.Unable(processor.RetryAfter(wait,
			errors.New("the endpoint failed several times in a row and is paused")))
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	req, err := request(ctx, j.ID, r, signers)
	if err != nil {
		return nil, CodeBlocked, processor.Permanent(err)
	}
	connected := false
	req = req.WithContext(httptrace.WithClientTrace(req.Context(),
		&httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }}))
	began := time.Now()
	resp, err := d.client.Do(req)
	if err != nil {
		if blocked(err) {
			return nil, CodeBlocked, processor.Permanent(errors.New("the endpoint's address or port is not allowed"))
		}
		if connected {
			d.refused(p, j)
		} else {
			d.unconnected(p, j)
		}
		return nil, CodeUnreachable, fmt.Errorf("no answer: %w", innermost(err))
	}
	d.seconds.Observe(time.Since(began).Seconds())
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	_ = resp.Body.Close()
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		d.endpoints.succeeded(p)
		return json.RawMessage(`{"status":` + strconv.Itoa(resp.StatusCode) + `}`), "", nil
	}
	d.refused(p, j)
	err = fmt.Errorf("the endpoint answered %d", resp.StatusCode)
	if resp.StatusCode == http.StatusGone {
		return nil, CodeGone, processor.Permanent(err)
	}
	if after := retryAfter(resp.Header); after > 0 {
		err = processor.RetryAfter(after, err)
	}
	return nil, CodeRejected, err
}

// request makes the HTTP request of one attempt. Its timestamp is now; its ID is the same in every attempt.
func request(
	ctx context.Context, id string, r webhook.Request, signers []*standardwebhooks.Webhook,
) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var signatures []string
	for _, s := range signers {
		signature, err := s.Sign(id, now, r.Body)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, signature)
	}
	h := req.Header
	tracing.SetHeaders(ctx, h)
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", "ackwire-webhook/1")
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return req, nil
}

func (d *deliverer) refused(p place, j *processor.Job) {
	if paused, pause := d.endpoints.refused(p); paused {
		bridge.WorkerLog(j).Warn("webhook endpoint paused", "endpoint", p.String(), "tenant", p.tenant, "for", pause)
		d.announce()
	}
}

func (d *deliverer) unconnected(p place, j *processor.Job) {
	if paused, pause := d.endpoints.unconnected(p); paused {
		bridge.WorkerLog(j).Warn("webhook host paused: it accepts no connections", "endpoint", p.origin, "tenant", p.tenant,
			"for", pause)
		d.announce()
	}
}

// announce has operators learn of a pause.
func (d *deliverer) announce() {
	if d.changed != nil {
		d.changed()
	}
}

func blocked(err error) bool {
	return errors.Is(err, ssrf.ErrProhibitedIP) || errors.Is(err, ssrf.ErrProhibitedPort) ||
		errors.Is(err, ssrf.ErrProhibitedNetwork)
}

// innermost returns the innermost cause of an error. The errors around it contain addresses, which clients must not
// see.
func innermost(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not within %s", attemptTimeout)
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
		return errors.New("the host name could not be resolved")
	}
	return err
}

// retryAfter reads the header Retry-After (RFC 9110 §10.2.3); 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	after, _ := job.ParseRetryAfter(h.Get("Retry-After"), time.Now(), maxRetryAfter)
	return after
}
