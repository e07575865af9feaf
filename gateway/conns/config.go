package conns

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/schemas/code"
)

// Config holds what the connections of a gateway need.
type Config struct {
	Connections      int // that may be open at the same time
	Strangers        int // whose client has not authenticated yet
	AddressStrangers int // of one address; 0 for no bound
	PingInterval     time.Duration

	TurnedAway func(limits.Bound)             // called when a bound is exceeded
	Refused    func(of code.Code, status int) // called when a request is refused that no handler has seen
	Log        *slog.Logger
	Metrics    prometheus.Registerer
}
