package conns

import (
	"net"
	"net/http"

	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/certs"
)

// Conns are the connections for clients of a gateway.
type Conns struct{ *table }

// New returns the connections of a gateway; it has none yet.
func New(cfg Config) *Conns {
	s := newStrangers(cfg.Strangers, cfg.AddressStrangers, cfg.TurnedAway)
	return &Conns{&table{
		cfg: &cfg, strangers: s, metrics: newMetrics(cfg.Metrics, s.size), open: map[net.Conn]*connection{},
		longLines: newStrangers(MaxLongLines, 0, func(limits.Bound) { cfg.TurnedAway(limits.LongLines) }),
	}}
}

// Listen returns a listener whose connections are bounded. They speak TLS if pair is not nil.
func (c *Conns) Listen(l net.Listener, pair *certs.Pair) net.Listener {
	if pair != nil {
		return listenTLS(c.table, l, pair)
	}
	return &headListener{Listener: l, all: c.table}
}

// Server returns the server of a handler for connections of a listener that Listen has made.
func (c *Conns) Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:        guarded(c.table, h),
		ConnState:      c.changed,
		ConnContext:    withConn,
		HTTP2:          http2Config(c.cfg.PingInterval),
		MaxHeaderBytes: MaxRequestLine + MaxHeaders, // headConn bounds each of them
	}
}

// Enter adds a socket whose client has not authenticated yet, until Leave. It returns nil if there are too many of the
// same address. hangUp closes the socket, and may be called from any goroutine.
func (c *Conns) Enter(addr net.Addr, hangUp func()) *Stranger { return c.strangers.enter(addr, hangUp) }

// Leave removes a socket that Enter has added. It does nothing if x is nil or has left already.
func (c *Conns) Leave(x *Stranger) { c.strangers.leave(x) }
