package kafka

import (
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// Reasons of problems.
const (
	reasonTLS    = "tls"    // the handshake, or a certificate
	reasonSASL   = "sasl"   // the authentication
	reasonClosed = "closed" // the broker closed a new connection without a word
)

const (
	sayAgain = time.Minute // a problem that lasts is logged as often
	maxSaid  = 64          // problems that are remembered
)

// problems counts the problems of all Kafka clients of a process together, and says which is new: a tracker has a
// client for each of its partitions, and they all meet the same problem at the same time.
type problems struct {
	*prometheus.CounterVec

	clear prometheus.Gauge // 1 while the secret is sent in clear text

	mu     sync.Mutex           // guards all below
	said   map[string]time.Time // when each problem was last logged
	warned bool                 // that the secret is sent in clear text
}

// newProblems registers the metric, or returns what another client of the process has registered. r may be nil.
func newProblems(r prometheus.Registerer) *problems {
	inClear := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: meter.Namespace, Subsystem: "kafka",
		Name: "secret_in_clear_text",
		Help: "1 if this process sends its password or token for Kafka to another host without TLS, where all who can " +
			"read the network between can take it: set kafka-tls.",
	})
	if r != nil {
		inClear = shared(r, inClear)
	}
	p := &problems{
		CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: meter.Namespace, Subsystem: "kafka",
			Name: "connection_problems_total",
			Help: "Connections to brokers that failed because of TLS or authentication, or that brokers closed at once, by " +
				"reason.",
		}, []string{"reason"}),
		clear: inClear,
		said:  map[string]time.Time{},
	}
	if r != nil {
		p = shared(r, p) // from here on others use it, too: only what mu guards may change
	}
	for _, reason := range []string{reasonTLS, reasonSASL, reasonClosed} {
		p.WithLabelValues(reason)
	}
	return p
}

// add counts a problem and reports whether it has to be logged.
func (p *problems) add(reason, text string) bool {
	p.WithLabelValues(reason).Inc()
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.said[text]) < sayAgain {
		return false
	}
	if len(p.said) >= maxSaid {
		clear(p.said)
	}
	p.said[text] = time.Now()
	return true
}

// warn sets the metric, and logs once if the secret is sent in clear text.
func (p *problems) warn(log *slog.Logger, mechanism string, inClear bool) {
	if !inClear {
		return
	}
	p.clear.Set(1)
	p.mu.Lock()
	again := p.warned
	p.warned = true
	p.mu.Unlock()
	if !again {
		log.Warn("the password or token for Kafka is sent in clear text, for all who can read the network: set kafka-tls",
			"mechanism", mechanism)
	}
}
