package processor

import (
	"crypto/rand"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/text"
)

// A worker's ID is in the documents of the jobs that it ran, so their owners and webhook endpoints see it. By default
// it does not contain the name of the machine; operators find that in the metric ackwire_processor_info and in the
// log.

// hostName returns the name of this machine, for operators.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return strings.ToValidUTF8(host, "-")
}

// randomWorkerID returns a random worker ID; with show it starts with the host's name.
func randomWorkerID(host string, show bool) string {
	if !show {
		return "worker-" + strings.ToLower(rand.Text()[:13])
	}
	host = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, host)
	return text.Clip(host, maxWorkerID-9) + "-" + strings.ToLower(rand.Text()[:8])
}

// noteIdentity registers the metric that tells operators on which machine a worker runs.
func noteIdentity(r prometheus.Registerer, worker, host string) {
	meter.New(r, "processor").GaugeVec("info", "The worker's ID and host; always 1. Jobs' documents contain only the ID.",
		"worker", "host").
		WithLabelValues(worker, host).Set(1)
}
