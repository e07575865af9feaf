package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"github.com/ackwire/ackwire/gateway/console"
	"github.com/ackwire/ackwire/gateway/console/login"
	"github.com/ackwire/ackwire/gateway/limits"
	"github.com/ackwire/ackwire/internal/service"
)

// ConsolePath is where the console is, below the root of its listener.
const ConsolePath = console.Path

// listeners are the listeners of a gateway.
type listeners struct {
	clients net.Listener
	console net.Listener // nil if the console has none of its own
}

// listen opens the listeners.
func (g *Gateway) listen(ctx context.Context) (d listeners, err error) {
	if d.clients, err = g.env.Listen(ctx, "tcp", g.cfg.Listen); err != nil {
		return d, fmt.Errorf("gateway listener: %w", err)
	}
	addr := d.clients.Addr().String()
	if g.cfg.ConsoleListen != "" {
		if d.console, err = g.env.Listen(ctx, "tcp", g.cfg.ConsoleListen); err != nil {
			return d, errors.Join(fmt.Errorf("console listener: %w", err), d.clients.Close())
		}
		own := d.console.Addr().String()
		g.consoleAddr.Store(&own)
	} else if g.cfg.Console {
		g.consoleAddr.Store(&addr)
	}
	g.addr.Store(&addr)
	return d, nil
}

// close closes listeners that nothing has served yet.
func (d listeners) close() error {
	if d.console == nil {
		return d.clients.Close()
	}
	return errors.Join(d.clients.Close(), d.console.Close())
}

// serve serves all listeners until ctx ends or one of them fails, and returns when they have ended. Requests have the
// context work. The drain begins when the first listener closes.
func (g *Gateway) serve(ctx, work context.Context, d listeners) error {
	handler := g.api.Handler()
	page := console.New(console.Config{
		Identify: g.api.Identify, Problem: g.api.Problem,
		Serve: g.api.Serve,
		Login: login.New(g.cfg.ConsoleLogin, g.provider(), g.env.Log, func() { g.metrics.turnedAway(limits.Logins) }),
	}).Over(handler)
	if g.cfg.Console {
		handler = page
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ends := make(chan error, 2)
	door := func(l net.Listener, h http.Handler) {
		server := g.conns.Server(h)
		server.ErrorLog = slog.NewLogLogger(g.env.Log.Handler(), slog.LevelDebug)
		server.BaseContext = func(net.Listener) context.Context { return work }
		l = &drainOnClose{Listener: g.conns.Listen(l, g.pair), drain: g.end.beginDrain}
		err := service.ServeHTTPUntil(ctx, server, l, g.cfg.SubmitTimeout+settleMore)
		stop()
		ends <- err
	}
	g.env.Log.Info("gateway serves", "address", g.Addr(), "console", g.ConsoleAddr())
	if d.console == nil {
		door(d.clients, handler)
		return <-ends
	}
	go door(d.console, page)
	door(d.clients, handler)
	return errors.Join(<-ends, <-ends)
}
