package embedded

import (
	"context"
	"maps"
	"slices"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/processor/webhook"
)

// buildProcessor makes the processor of the demo types, of webhooks and of the configured handlers.
func (e *Embedded) buildProcessor(ctx context.Context) error {
	gw := e.cfg.Gateway
	handled := slices.Concat(demo.Types, slices.Sorted(maps.Keys(e.cfg.Handlers.Type)))
	lanes, err := gateway.LanesOf(gw.JobTypes, handled...)
	if err != nil {
		return err
	}
	store, done, err := flags.WithBlobs(ctx, gw.Blobs)
	if err != nil {
		return err
	}
	e.closeBlobs = done
	cfg := e.cfg.Worker.Config()
	cfg.Brokers = gw.Kafka.Brokers
	cfg.TopicPrefix = gw.TopicPrefix
	cfg.Partitions = gw.Partitions
	cfg.Lanes = lanes
	// The demo makes room for real workers; who names handlers has one here.
	cfg.StepBack = len(e.cfg.Handlers.Type) == 0
	e.workers, err = processor.New(cfg, append(flags.Options(e.env), store)...)
	if err != nil {
		return err
	}
	demo.Register(e.workers)
	hooks, err := e.cfg.Webhooks.Config()
	if err != nil {
		return err
	}
	if len(hooks.Keys) == 0 && len(hooks.Secrets) == 0 {
		key, err := Key(e.cfg.Broker.Data)
		if err != nil {
			return err
		}
		hooks.Keys = [][]byte{key}
	}
	if err := webhook.Register(e.workers, hooks); err != nil {
		return err
	}
	callbacks, err := e.cfg.Handlers.Register(ctx, e.workers, e.env, demo.Types...)
	if callbacks != nil {
		e.callbacks = callbacks.Run
	}
	return err
}
