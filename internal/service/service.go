// Package service has the parts that every Ackwire service shares: the environment that it runs in, its
// operations listener and its HTTP server. Parts that only commands need are in package command.
package service

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// Env is the environment of a service: its log, metrics, network and tracer. A service uses the network only
// through it, so a simulation can pass in a virtual one.
type Env struct {
	Log     *slog.Logger
	Metrics Metrics
	Dial    func(ctx context.Context, network, address string) (net.Conn, error)
	Listen  func(ctx context.Context, network, address string) (net.Listener, error)
	// Traces makes trace spans; nil makes none, at no cost.
	Traces trace.TracerProvider
}

// Metrics is a registry in which services register their metrics, and from which they are read; usually a
// prometheus.Registry.
type Metrics interface {
	prometheus.Registerer
	prometheus.Gatherer
}

// OS returns the environment of a real process.
func OS(log *slog.Logger) Env {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	// TCP keepalive is off: the gateway pings its sockets itself.
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

// Loopback reports whether a listener's host is a loopback address, which other machines cannot reach.
func Loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
