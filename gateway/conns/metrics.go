package conns

import (
	"maps"
	"net/http"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/internal/meter"
)

// metrics are the metrics of connections.
type metrics struct {
	open       prometheus.Gauge
	ends       *prometheus.CounterVec
	handshakes *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, strangers func() int) metrics {
	m := meter.New(r, "gateway")
	m.GaugeFunc("strangers", "Connections and sockets whose client has not authenticated yet.", func() float64 {
		return float64(strangers())
	})
	return metrics{
		open: m.Gauge("http_connections", "Open HTTP connections, without WebSockets."),
		handshakes: m.Counters("tls_handshakes_total",
			"TLS handshakes of the listener for clients, by outcome: plain is a client that does not speak TLS.", "outcome",
			Handshakes...),
		ends: m.Counters("http_connection_ends_total",
			"HTTP connections that ended without becoming WebSockets, by their state: new, nothing was sent; in a request or "+
				"its headers; idle.", "in", slices.Collect(maps.Values(connStates))...),
	}
}

// connStates names what a connection was doing when it ended: waiting for its first byte, in a
// request or its headers, or between two requests.
var connStates = map[http.ConnState]string{http.StateNew: "new", http.StateActive: "request", http.StateIdle: "idle"}

// Outcomes of TLS handshakes.
const (
	shaken        = "ok"
	shakePlain    = "plain" // the client does not speak TLS
	shakeTimedOut = "timeout"
	shakeTooLarge = "too_large"
	shakeFailed   = "failed"
)

// Handshakes are all outcomes of TLS handshakes.
var Handshakes = []string{shaken, shakePlain, shakeTimedOut, shakeTooLarge, shakeFailed}
