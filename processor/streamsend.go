package processor

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/stream"
)

// storePiece hands a piece to the Kafka client. It never blocks; done is called on the client's goroutine.
func (p *Processor) storePiece(c stream.Chunk, done func(error)) {
	headers := c.Headers()
	rec := &kgo.Record{Topic: p.names.Streams(), Key: []byte(c.JobID), Value: c.Value,
		Headers: make([]kgo.RecordHeader, len(headers))}
	for i, h := range headers {
		rec.Headers[i] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
	}
	kafka.Produce(p.produceCtx, p.client, rec, func(_ *kgo.Record, err error) {
		p.noteProduce(streamLabel, err)
		done(err)
	})
}

const streamLabel = "stream" // a produce to the topic streams, in produce_failures_total

// kindLog is the label of a run's log in the metrics of streams; the others are a job.StreamKind.
const kindLog = "log"

// streamMetrics count what runs write to their streams.
type streamMetrics struct {
	bytes   *prometheus.CounterVec
	records *prometheus.CounterVec
	leftOut prometheus.Counter
}

func newStreamMetrics(m meter.Meter) *streamMetrics {
	kinds := []string{string(job.StreamText), string(job.StreamJSON), kindLog}
	return &streamMetrics{
		bytes: m.Counters("stream_bytes_total", "Bytes that runs have stored in their streams, by the stream's kind; log "+
			"is the job's log.", "kind", kinds...),
		records: m.Counters("stream_records_total", "Records that runs have stored in their streams, by the stream's kind.",
			"kind", kinds...),
		leftOut: m.Counter("log_lines_left_out_total", "Lines that runs have left out of their jobs' logs, because these "+
			"were above a bound or had ended."),
	}
}

// note counts a piece that is stored.
func (m *streamMetrics) note(p *pipe, size int) {
	kind := string(p.kind)
	if p.name == job.StreamLog {
		kind = kindLog
	}
	m.bytes.WithLabelValues(kind).Add(float64(size))
	m.records.WithLabelValues(kind).Inc()
}
