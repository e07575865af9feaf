package processor

import (
	"crypto/rand"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
	"github.com/ackwire/ackwire/schemas/text"
)

// A worker's ID is in the documents of the jobs that it ran, so every owner of one, and every
// webhook, sees it. It says nothing of the machine unless it is told to; those who run workers find
// the machine by ackwire_processor_info and in the log.

// hostName is this machine's, for those who run it.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return strings.ToValidUTF8(host, "-")
}

// randomWorkerID is made of random bits; with the host's name before them if that may be shown.
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

// noteIdentity tells operators which machine a worker is on.
func noteIdentity(r prometheus.Registerer, worker, host string) {
	meter.New(r, "processor").GaugeVec("info", "The worker and its host; always 1. Jobs' documents name the worker only.",
		"worker", "host").
		WithLabelValues(worker, host).Set(1)
}
