package api

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/code"
)

// Counts counts what sessions count, too.
type Counts interface {
	Error(c code.Code)  // an error was sent
	Sent(times []int64) // statuses were written; see outbox.Take
	TooSlowToSend()     // a body did not arrive in time
}

// Metrics are the metrics of HTTP.
type Metrics struct {
	Counts
	requests        *prometheus.CounterVec
	requestSeconds  *prometheus.HistogramVec
	handshakes      *prometheus.CounterVec
	eventStreams    prometheus.Gauge
	eventStreamEnds *prometheus.CounterVec
}

const (
	handshakeOK = "accepted"
	otherRoute  = "other"
)

// RouteNames are the names of all endpoints in the metrics.
var RouteNames = []string{
	"submit", "batch", "list", "get", "why", "result", "deliveries", "events", "streams", "stream", "cancel",
	"retry", "erase", "stats", "grant", "bulk", "history", "payload", "job_types", "dead", "dead_get", "dead_requeue",
	"workers", "system", "activity", "webhooks", "audit",
	"ticket", "ws", otherRoute,
}

// Handshakes are the outcomes of handshakes of sockets.
var Handshakes = []string{
	handshakeOK, string(code.UpgradeRequired), string(code.Unauthenticated), string(code.Forbidden),
	string(code.Overloaded), string(code.LimitExceeded), string(code.InvalidFrame), string(code.Unavailable),
	string(code.Internal),
}

// NewMetrics registers the metrics. routes are names of routes that are none of the API; see [API.Serve].
func NewMetrics(r prometheus.Registerer, counts Counts, routes ...string) *Metrics {
	m := meter.New(r, "gateway")
	all := &Metrics{
		Counts:   counts,
		requests: m.CounterVec("http_requests_total", "HTTP requests, by route and status.", "route", "status"),
		requestSeconds: m.HistogramVec("http_request_seconds",
			"Time from a request to the head of its answer, by route. Requests that waited for their job (Prefer: wait) are "+
				"not counted.",
			meter.Quick, "route"),
		handshakes:   m.Counters("handshakes_total", "WebSocket handshakes, by outcome.", "outcome", Handshakes...),
		eventStreams: m.Gauge("event_streams", "Open event streams (SSE)."),
		eventStreamEnds: m.Counters("event_stream_ends_total", "Event streams that ended, by reason.",
			"reason", meter.Words(sse.Reasons)...),
	}
	for _, route := range slices.Concat(RouteNames, routes) {
		all.requestSeconds.WithLabelValues(route)
	}
	return all
}

// Request counts a request that was answered; waited says that it has waited for its job.
func (m *Metrics) Request(route string, status int, took time.Duration, waited bool) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	if !waited {
		m.requestSeconds.WithLabelValues(route).Observe(took.Seconds())
	}
}

// Refused counts a request that no handler has seen.
func (m *Metrics) Refused(of code.Code, status int) {
	m.Error(of)
	m.Request(otherRoute, status, 0, false)
}
