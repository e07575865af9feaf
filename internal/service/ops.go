package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/meter"
)

// Ops is a process's operations listener. It serves /metrics, /healthz (the process runs), /readyz (it takes
// work, or why not), /startupz (it has been ready since it was started) and, if configured, /debug/pprof.
type Ops struct {
	env      Env
	listener net.Listener
	probes   probes
	access   access
	debug    bool // serve /debug/pprof
}

// NewOps listens at address. It serves once Run is called.
func NewOps(ctx context.Context, env Env, address string, cfg OpsConfig, ready map[string]Ready) (*Ops, error) {
	a, err := cfg.access(env, address)
	if err != nil {
		return nil, fmt.Errorf("ops listener: %w", err)
	}
	l, err := env.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("ops listener: %w", err)
	}
	if err := env.Metrics.Register(newStates(meter.New(env.Metrics, ""), ready)); err != nil {
		return nil, errors.Join(fmt.Errorf("ops listener: %w", err), l.Close())
	}
	if err := certs.Define(env.Metrics); err != nil {
		return nil, errors.Join(fmt.Errorf("ops listener: %w", err), l.Close())
	}
	return &Ops{env: env, listener: l, probes: probes{parts: ready}, access: a, debug: cfg.Debug}, nil
}

// Addr returns the address at which it listens.
func (o *Ops) Addr() string { return o.listener.Addr().String() }

// Close closes the listener of an Ops whose Run is not called.
func (o *Ops) Close() error { return o.listener.Close() }

// Run serves until ctx ends, and returns when every request has ended.
func (o *Ops) Run(ctx context.Context) error {
	return ServeHTTP(ctx, &http.Server{
		Handler:  o.handler(),
		ErrorLog: slog.NewLogLogger(o.env.Log.Handler(), slog.LevelDebug),
	}, o.access.secure(o.listener))
}

func (o *Ops) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", o.access.withToken(metricsHandler(o.env.Metrics)))
	mux.HandleFunc("GET /healthz", o.probes.healthz)
	mux.HandleFunc("GET /readyz", o.access.reasons(o.probes.readyz))
	mux.HandleFunc("GET /startupz", o.access.reasons(o.probes.startupz))
	mux.Handle("/debug/pprof/", o.access.withToken(o.profiles()))
	return o.access.hostKnown(mux)
}

// profiles returns the handler of /debug/pprof.
func (o *Ops) profiles() http.Handler {
	if !o.debug {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "this process was started without --debug-endpoints", http.StatusNotFound)
		})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", commandLine)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// Bounds of all HTTP servers.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	shutdownTimeout   = 5 * time.Second
)

// ServeHTTP serves until ctx ends, then lets requests finish within shutdownTimeout and closes the connections
// that are left. It does not close hijacked connections: their owner must.
func ServeHTTP(ctx context.Context, srv *http.Server, l net.Listener) error {
	return ServeHTTPUntil(ctx, srv, l, shutdownTimeout)
}

// ServeHTTPUntil is ServeHTTP with finish in place of shutdownTimeout.
func ServeHTTPUntil(ctx context.Context, srv *http.Server, l net.Listener, finish time.Duration) error {
	if srv.ReadHeaderTimeout == 0 {
		srv.ReadHeaderTimeout = readHeaderTimeout
	}
	if srv.IdleTimeout == 0 {
		srv.IdleTimeout = idleTimeout
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), finish)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
