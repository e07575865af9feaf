package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/blobs"
	"github.com/ackwire/ackwire/gateway/upstream"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/schemas/trackerpb"
)

// startRetry is the time between two tries to make and verify the topics.
const startRetry = 500 * time.Millisecond

// Run serves until ctx ends. After that it reports that it is not ready, and goes on to serve for DrainWait. Then it
// drains: it accepts no new sockets, asks the open ones to reconnect (goaway), answers the submits in flight, writes
// what waits, and closes sockets with 1012. It returns when all its connections and goroutines have ended.
func (g *Gateway) Run(ctx context.Context) error {
	listeners, err := g.listen(ctx)
	if err != nil {
		return err
	}
	cl, err := g.cfg.Kafka.NewClient(g.env, "ackwire-gateway")
	if err != nil {
		return errors.Join(err, listeners.close())
	}
	defer cl.Close()
	var store *blobs.Store // nil if none is configured
	if g.cfg.Blobs.URL != "" {
		if store, err = blobs.Open(ctx, g.cfg.Blobs.URL); err != nil {
			return errors.Join(err, listeners.close())
		}
		defer func() { _ = store.Close() }()
	}
	systems := []topic.Names{g.names}
	var former *topic.Names
	if g.cfg.FormerPrefix != "" {
		former = &topic.Names{Prefix: g.cfg.FormerPrefix}
		systems = append(systems, *former)
	}
	var lanes []string // whose queues acks tell of
	if g.cfg.AckQueue != AckQueueOff {
		lanes = g.types.Lanes()
	}
	up := upstream.NewPair(upstream.Config{
		Names: g.names, Kafka: cl, Dial: g.env.Dial, Peers: g.peers, Watcher: watchers{g.hub, g.subjects, g.lists},
		Streams: g.room, Log: g.env.Log, Bounds: g.cfg.Kafka.Bounds(), Lanes: lanes,
		Process: &trackerpb.Process{Name: g.instance.Name, Version: g.instance.Version, Revision: g.instance.Revision,
			StartedAt: g.instance.StartedAt.UnixMilli()},
	}, former)
	g.hub.Attach(up)
	g.subjects.Attach(up)
	g.lists.Attach(up)
	g.room.Attach(up)
	g.build(cl, up, store, systems...)
	bulk, err := g.bulkWorkers(up, store, systems)
	if err != nil {
		return errors.Join(err, listeners.close())
	}
	g.streams.Store(up)

	// The drain needs this context, which must outlive ctx.
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	parts := service.NewGroup(work)
	parts.Go("upstream", up.Run)
	parts.Go("gaps", g.subjects.Run)
	parts.Go("health", func(ctx context.Context) error { return g.kafkaUp.Watch(ctx, cl) })
	parts.Go("pings", func(ctx context.Context) error { return g.sessions.ping(ctx, g.sweep) })
	parts.Go("keys", g.verifier.Run)
	start, stopStart := context.WithCancel(ctx)
	var starting sync.WaitGroup
	usable := make(chan struct{})
	starting.Go(func() {
		if g.start(start, cl); start.Err() == nil {
			close(usable)
			g.keeper.Run(start, cl)
		}
	})

	// Bulk actions are run once Kafka is usable, whose lacks are said once. They are handed back at once; they need Kafka
	// and the trackers until that is reported.
	starting.Go(func() {
		select {
		case <-usable:
		case <-start.Done():
			return
		}
		bulk.run(start, func(err error) { g.env.Log.Warn("the worker of bulk actions has ended", "err", err) })
	})

	// Sockets and HTTP requests drain at the same time.
	var draining sync.WaitGroup
	serving, stopServing := context.WithCancel(work)
	defer stopServing()
	draining.Go(func() {
		select {
		case <-ctx.Done():
		case <-g.end.drain: // serving has failed
			return
		}
		close(g.end.leaving)
		select {
		case <-time.After(g.cfg.DrainWait):
		case <-g.end.drain:
		}
		stopServing()
	})
	draining.Go(func() {
		<-g.end.drain
		g.sessions.drain(g.cfg.SubmitTimeout + settleMore)
	})

	err = g.serve(serving, work, listeners)
	g.end.beginDrain() // also when serving failed
	stopStart()
	starting.Wait()
	draining.Wait()
	stop()
	return errors.Join(err, parts.Wait())
}

// start makes missing topics and verifies all. Until that is done submits are refused.
func (g *Gateway) start(ctx context.Context, cl *kgo.Client) {
	said := ""
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, g.cfg.Kafka.Bounds().Delivery)
		err := g.keeper.Ensure(try, cl, g.topics()...)
		cancel()
		if err == nil {
			g.kafkaUp.Up()
			return
		}
		err = kafka.Hint(err)
		g.kafkaUp.Down(fmt.Errorf("starting, Kafka is not usable yet: %w", err))
		if why := err.Error(); why != said {
			g.env.Log.Warn("Kafka is not usable yet", "err", err)
			said = why
		}
		pause.For(ctx, startRetry)
	}
}

// sweep ends watches that no tracker has answered in time.
func (g *Gateway) sweep() {
	g.hub.Sweep()
	g.subjects.Sweep()
	g.lists.Sweep()
}
