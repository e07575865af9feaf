package processor

import (
	"flag"
	"log/slog"

	"github.com/ackwire/ackwire/internal/service"
)

var update = flag.Bool("update", false, "write golden files")

func quiet() Option { return WithLogger(slog.New(slog.DiscardHandler)) }

// within returns the options that give a processor the logger, metrics and dialer of env.
func within(env service.Env) []Option {
	return []Option{WithLogger(env.Log), WithMetrics(env.Metrics), WithTracerProvider(env.Traces), WithDialer(env.Dial)}
}
