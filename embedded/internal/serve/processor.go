package serve

import (
	"context"
	"maps"
	"path/filepath"
	"slices"

	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/processor"
	"github.com/ackwire/ackwire/processor/cmd/flags"
	"github.com/ackwire/ackwire/processor/demo"
	"github.com/ackwire/ackwire/processor/webhook"
)

// buildProcessor makes the processor of the demo types, of webhooks and of the configured handlers.
func (s *System) buildProcessor(ctx context.Context) error {
	gw := s.cfg.Gateway
	handled := slices.Concat(demo.Types, slices.Sorted(maps.Keys(s.cfg.Handlers.Type)))
	lanes, err := gateway.LanesOf(gw.JobTypes, handled...)
	if err != nil {
		return err
	}
	store, done, err := flags.WithBlobs(ctx, gw.Blobs)
	if err != nil {
		return err
	}
	s.closeBlobs = done
	byType, err := flags.ByType(gw.JobTypes)
	if err != nil {
		return err
	}
	cfg := s.cfg.Worker.Config()
	cfg.Brokers = gw.Kafka.Brokers
	cfg.Security = processor.Security(gw.Kafka.Security)
	cfg.Rack, cfg.Compression = gw.Kafka.Rack, gw.Kafka.Compression
	cfg.Timeouts = processor.Timeouts(gw.Kafka.Timeouts)
	cfg.TopicPrefix = gw.TopicPrefix
	cfg.Partitions = gw.Partitions
	cfg.Topics, cfg.TopicSettings = gw.Topics.Mode, gw.Topics.Settings
	cfg.Lanes = lanes
	// The demo makes room for real workers; who names handlers has one here.
	cfg.StepBack = len(s.cfg.Handlers.Type) == 0
	s.workers, err = processor.New(cfg, append(append(flags.Options(s.env), store), byType...)...)
	if err != nil {
		return err
	}
	demo.Register(s.workers)
	hooks, err := s.cfg.Webhooks.Config()
	if err != nil {
		return err
	}
	if len(hooks.Keys) == 0 && len(hooks.Secrets) == 0 {
		if hooks.Keys, err = s.webhookKeys(); err != nil {
			return err
		}
	}
	if err := webhook.Register(s.workers, hooks); err != nil {
		return err
	}
	callbacks, err := s.cfg.Handlers.Register(ctx, s.workers, s.env, demo.Types...)
	if callbacks != nil {
		s.callbacks = callbacks.Run
	}
	return err
}

// webhookKeys returns the data folder's keys for webhooks.
func (s *System) webhookKeys() ([][]byte, error) {
	dir := s.cfg.Broker.Data
	before, err := used(dir)
	if err != nil {
		return nil, err
	}
	keys, err := WebhookKeys(dir, before)
	if len(keys) > 1 {
		s.env.Log.Warn("webhooks are signed by the key of tokens, too, as in earlier versions: once their endpoints know "+
			"the first secret of ackwire webhook-secret, write none into the file", "file", filepath.Join(dir, formerKey))
	}
	return keys, err
}
