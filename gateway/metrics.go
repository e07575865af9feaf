package gateway

import (
	"errors"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/gateway/sse"
	"github.com/ackwire/ackwire/schemas/code"
	"github.com/ackwire/ackwire/schemas/frame"
)

// metrics counts what a gateway does. Every label's values are a fixed set and start at 0.
type metrics struct {
	submits        *prometheus.CounterVec
	ack            prometheus.Histogram
	frames         *prometheus.CounterVec
	errors         *prometheus.CounterVec
	closes         *prometheus.CounterVec
	retentionShort *prometheus.GaugeVec
	sessions       prometheus.Gauge
	sent           prometheus.Counter
	conflated      prometheus.Counter
	requests       *prometheus.CounterVec
	handshakes     *prometheus.CounterVec
	turned         *prometheus.CounterVec

	eventStreams    prometheus.Gauge
	eventStreamEnds *prometheus.CounterVec
}

const (
	clientLeft  = "none" // close label of a session whose client left without a close of ours
	otherFrame  = "other"
	handshakeOK = "accepted"
)

var (
	clientFrames = []frame.Type{frame.Auth, frame.Submit, frame.Subscribe, frame.Unsubscribe, frame.Cancel, frame.Retry, frame.Ping}
)

func newMetrics(r prometheus.Registerer, size func() (jobs, subscriptions int), streams func() int) *metrics {
	const namespace, subsystem = "ackwire", "gateway"
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, labels)
		r.MustRegister(v)
		return v
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: name, Help: help}, f))
	}
	m := &metrics{
		submits:    vec("submits_total", "Submits, by outcome.", "outcome"),
		frames:     vec("frames_received_total", "Frames received, by type and by the code they were answered with.", "type", "code"),
		errors:     vec("errors_total", "Errors sent to clients, by code.", "code"),
		closes:     vec("session_closes_total", "Sessions that ended, by close code.", "code"),
		requests:   vec("http_requests_total", "HTTP requests, by route and status.", "route", "status"),
		handshakes: vec("handshakes_total", "WebSocket handshakes, by outcome.", "outcome"),
		turned:     vec("turned_away_total", "Sessions, submits, watches and frames that were turned away, by the bound that was met.", "bound"),
		sent:       counter("statuses_sent_total", "Status frames written to sockets."),
		conflated:  counter("statuses_conflated_total", "Statuses that were replaced by a newer one before they were written."),
		ack: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: "ack_seconds",
			Help:    "From a submit's frame to its ack, for submits that were acked.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 15), NativeHistogramBucketFactor: 1.1}),
		retentionShort: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "log_retention_short",
			Help: "1 for a topic that does not keep records as long as a job may live; the log says more."}, []string{"topic"}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "sessions", Help: "Open sockets."}),
	}
	m.eventStreams = prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "event_streams", Help: "Open event streams (SSE)."})
	m.eventStreamEnds = vec("event_stream_ends_total", "Event streams that ended, by reason.", "reason")
	for _, why := range sse.Reasons {
		m.eventStreamEnds.WithLabelValues(string(why))
	}
	r.MustRegister(m.ack, m.sessions, m.retentionShort, m.eventStreams)
	gauge("watched_jobs", "Jobs that sessions watch.", func() float64 { jobs, _ := size(); return float64(jobs) })
	gauge("subscriptions", "Watches of sessions.", func() float64 { _, subs := size(); return float64(subs) })
	gauge("tracker_streams", "Trackers connected for watches.", func() float64 { return float64(streams()) })
	for _, o := range []string{"acked", "rejected", "indeterminate"} {
		m.submits.WithLabelValues(o)
	}
	for _, b := range limits.All {
		m.turned.WithLabelValues(string(b))
	}
	for _, c := range code.All {
		m.errors.WithLabelValues(string(c))
	}
	for _, c := range code.AllCloses {
		m.closes.WithLabelValues(strconv.Itoa(int(c)))
	}
	m.closes.WithLabelValues(clientLeft)
	for _, t := range clientFrames {
		m.frames.WithLabelValues(string(t), "")
	}
	for _, o := range []string{handshakeOK, string(code.Unauthenticated), string(code.Forbidden), string(code.Overloaded), string(code.LimitExceeded), string(code.InvalidFrame), string(code.Unavailable), string(code.Internal)} {
		m.handshakes.WithLabelValues(o)
	}
	return m
}

func (m *metrics) submitted(err error, took time.Duration) {
	var p frame.Problem
	switch {
	case err == nil:
		m.submits.WithLabelValues("acked").Inc()
		m.ack.Observe(took.Seconds())
	case errors.As(err, &p) && p.Code == code.Indeterminate:
		m.submits.WithLabelValues("indeterminate").Inc()
	default:
		m.submits.WithLabelValues("rejected").Inc()
	}
}

// Frame implements session.Metrics.
func (m *metrics) Frame(t frame.Type, c code.Code) {
	label := otherFrame
	for _, known := range clientFrames {
		if t == known {
			label = string(t)
		}
	}
	m.frames.WithLabelValues(label, string(c)).Inc()
}

// Error implements session.Metrics.
func (m *metrics) Error(c code.Code) { m.errors.WithLabelValues(string(c)).Inc() }

// Sent implements session.Metrics.
func (m *metrics) Sent(statuses int) { m.sent.Add(float64(statuses)) }

// TooManyFrames implements session.Metrics.
func (m *metrics) TooManyFrames() { m.turnedAway(limits.FrameRate) }

// TooSlowToSend implements session.Metrics.
func (m *metrics) TooSlowToSend() { m.turnedAway(limits.MessageTime) }

func (m *metrics) turnedAway(b limits.Bound) { m.turned.WithLabelValues(string(b)).Inc() }

// Conflated implements session.Metrics.
func (m *metrics) Conflated() { m.conflated.Inc() }

func (m *metrics) closed(c code.Close) {
	label := clientLeft
	if _, known := c.Info(); known {
		label = strconv.Itoa(int(c))
	}
	m.closes.WithLabelValues(label).Inc()
}

func (m *metrics) request(route string, status int) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
}
