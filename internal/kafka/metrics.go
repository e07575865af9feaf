package kafka

import (
	"errors"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/internal/meter"
)

// measured names the requests that have series of their own, by their key in the protocol; all others share
// one.
var measured = map[int16]string{
	kmsg.Produce.Int16():      "produce",
	kmsg.Fetch.Int16():        "fetch",
	kmsg.Metadata.Int16():     "metadata",
	kmsg.OffsetCommit.Int16(): "offset_commit",
	kmsg.Heartbeat.Int16():    "heartbeat",
	kmsg.EndTxn.Int16():       "end_transaction",
}

const otherRequest = "other"

// traffic has the metrics of all Kafka clients of a process together, as hooks. It has no label for the client
// or the broker: operators need not know how many clients a process has, and brokers have their own metrics.
type traffic struct {
	seconds                    *prometheus.HistogramVec
	failed                     *prometheus.CounterVec
	connects                   *prometheus.CounterVec
	records, batches           *prometheus.CounterVec
	bytesWritten, bytesRead    prometheus.Counter
	throttled                  prometheus.Counter
	disconnects                prometheus.Counter
	connectsOK, connectsFailed prometheus.Counter
}

var (
	_ kgo.HookBrokerConnect       = (*traffic)(nil)
	_ kgo.HookBrokerDisconnect    = (*traffic)(nil)
	_ kgo.HookBrokerE2E           = (*traffic)(nil)
	_ kgo.HookBrokerThrottle      = (*traffic)(nil)
	_ kgo.HookProduceBatchWritten = (*traffic)(nil)
	_ kgo.HookFetchBatchRead      = (*traffic)(nil)
)

// newTraffic registers the metrics, or returns those that another client of the process has registered.
func newTraffic(r prometheus.Registerer) *traffic {
	const service = "kafka"
	counter := func(name, help string) prometheus.Counter {
		return shared(r, prometheus.NewCounter(prometheus.CounterOpts{Namespace: meter.Namespace, Subsystem: service,
			Name: name, Help: help}))
	}
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := shared(r, prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: meter.Namespace, Subsystem: service,
			Name: name, Help: help}, []string{label}))
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	requests := []string{otherRequest}
	for _, name := range measured {
		requests = append(requests, name)
	}
	t := &traffic{
		seconds: shared(r, prometheus.NewHistogramVec(meter.Native(prometheus.HistogramOpts{Namespace: meter.Namespace,
			Subsystem: service, Name: "request_seconds",
			Help:    "Time until brokers answered, by request; a fetch waits up to half a second for records.",
			Buckets: meter.Quick}), []string{"request"})),
		failed: vec("requests_failed_total",
			"Requests whose connection broke before their answer, by request; they are sent again.", "request", requests...),
		connects:    vec("connects_total", "Connections to brokers, by outcome.", "outcome", "opened", "failed"),
		disconnects: counter("disconnects_total", "Connections to brokers that ended."),
		records: vec("records_total", "Records produced to brokers and fetched from them, by direction.", "direction",
			"produced", "fetched"),
		batches: vec("batches_total", "Batches of records produced to brokers and fetched from them, by direction.",
			"direction", "produced", "fetched"),
		bytesWritten: counter("written_bytes_total", "Bytes sent to brokers."),
		bytesRead:    counter("read_bytes_total", "Bytes received from brokers."),
		throttled: counter("throttled_seconds_total",
			"Time for which brokers have asked this process to pause because of a quota."),
	}
	for _, name := range requests {
		t.seconds.WithLabelValues(name)
	}
	t.connectsOK, t.connectsFailed = t.connects.WithLabelValues("opened"), t.connects.WithLabelValues("failed")
	return t
}

// shared registers a collector, or returns the one that is already registered under its name.
func shared[C prometheus.Collector](r prometheus.Registerer, c C) C {
	err := r.Register(c)
	if err == nil {
		return c
	}
	var there prometheus.AlreadyRegisteredError
	if errors.As(err, &there) {
		if c, ok := there.ExistingCollector.(C); ok {
			return c
		}
	}
	panic(err) // two different metrics with one name are a bug
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (t *traffic) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		t.connectsFailed.Inc()
		return
	}
	t.connectsOK.Inc()
}

// OnBrokerDisconnect implements kgo.HookBrokerDisconnect.
func (t *traffic) OnBrokerDisconnect(kgo.BrokerMetadata, net.Conn) { t.disconnects.Inc() }

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (t *traffic) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e kgo.BrokerE2E) {
	request := measured[key]
	if request == "" {
		request = otherRequest
	}
	t.bytesWritten.Add(float64(e.BytesWritten))
	t.bytesRead.Add(float64(e.BytesRead))
	if e.Err() != nil {
		t.failed.WithLabelValues(request).Inc()
		return
	}
	t.seconds.WithLabelValues(request).Observe(e.DurationE2E().Seconds())
}

// OnBrokerThrottle implements kgo.HookBrokerThrottle.
func (t *traffic) OnBrokerThrottle(_ kgo.BrokerMetadata, d time.Duration, _ bool) {
	t.throttled.Add(d.Seconds())
}

// OnProduceBatchWritten implements kgo.HookProduceBatchWritten.
func (t *traffic) OnProduceBatchWritten(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.ProduceBatchMetrics) {
	t.records.WithLabelValues("produced").Add(float64(m.NumRecords))
	t.batches.WithLabelValues("produced").Inc()
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (t *traffic) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	t.records.WithLabelValues("fetched").Add(float64(m.NumRecords))
	t.batches.WithLabelValues("fetched").Inc()
}
