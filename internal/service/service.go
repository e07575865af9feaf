// Package service is what every Ackwire service is made of: the environment that it runs in,
// its operations listener and its HTTP server. What only commands need is in package command.
package service

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Env is the world a service runs in. Production uses the operating system's network;
// a simulation hands in a virtual one. A service reaches the outside through it only.
type Env struct {
	Log     *slog.Logger
	Metrics Metrics
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Listen  func(ctx context.Context, network, address string) (net.Listener, error)
	// Traces makes spans; nil: none are made, and nothing is spent on them.
	Traces trace.TracerProvider
}

// Metrics is where services put their metrics, and where they are read: a prometheus.Registry,
// as a rule.
type Metrics interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// OS returns the environment of a real process.
func OS(log *slog.Logger) Env {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	// The gateway pings its sockets itself; keepalive probes for thousands of them are waste.
	lc := net.ListenConfig{KeepAlive: -1}
	return Env{
		Log:     log,
		Metrics: NewRegistry(),
		Dial:    dialer.DialContext,
		Listen:  lc.Listen,
	}
}

// With returns e with attributes added to its logger.
func (e Env) With(args ...any) Env {
	e.Log = e.Log.With(args...)
	return e
}

// Loopback reports whether a listener's host is this machine's own.
func Loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
