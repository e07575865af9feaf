package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/ackwire/ackwire/loadtest/pace"
)

// asynqSettings are those in which Asynq's rows differ.
type asynqSettings struct {
	name  string
	check time.Duration // TaskCheckInterval, between looks at an empty queue; 0 is Asynq's default
	fsync string        // Redis's appendfsync
}

// tunedCheck is the tuned interval.
const tunedCheck = 5 * time.Millisecond

// asynqs returns Asynq with its default settings, and tuned. Clients and workers are in this process.
func asynqs(ctx context.Context, c config) ([]peer, []string, error) {
	if c.Redis == "" {
		return nil, nil, nil
	}
	server := redis.NewClient(&redis.Options{Addr: c.Redis})
	defer server.Close()
	info, err := server.Info(ctx, "server").Result()
	if err != nil {
		return nil, nil, fmt.Errorf("redis: %w", err)
	}
	_, number, _ := strings.Cut(info, "redis_version:")
	number, _, _ = strings.Cut(number, "\r\n")
	var out []peer
	for _, s := range []asynqSettings{
		{name: "Asynq", fsync: "everysec"},
		{name: "Asynq, tuned", check: tunedCheck, fsync: "everysec"},
		{name: "Asynq, tuned, appendfsync always", check: tunedCheck, fsync: "always"},
	} {
		out = append(out, peer{name: s.name, open: func(ctx context.Context) (pace.Job, func(), error) {
			return openAsynq(ctx, c, s)
		}})
	}
	return out, []string{"Asynq " + version("github.com/hibiken/asynq") + " on Redis " + number}, nil
}

// openAsynq starts an Asynq client and server. A task's end is known by the return of its handler, in this process:
// Asynq tells nobody of it, and whoever asks Redis learns of it later.
func openAsynq(ctx context.Context, c config, s asynqSettings) (pace.Job, func(), error) {
	options := &redis.Options{Addr: c.Redis, PoolSize: c.Sockets}
	set := redis.NewClient(options)
	defer set.Close()
	for key, value := range map[string]string{"appendonly": "yes", "appendfsync": s.fsync} {
		if err := set.ConfigSet(ctx, key, value).Err(); err != nil {
			return nil, nil, fmt.Errorf("redis: set %s: %w", key, err)
		}
	}
	opt := asynq.RedisClientOpt{Addr: c.Redis, PoolSize: c.Sockets}
	ended := newEnds[string]()
	handlers := asynq.NewServeMux()
	handlers.HandleFunc("echo", func(_ context.Context, t *asynq.Task) error {
		ended.ended(t.ResultWriter().TaskID())
		return nil
	})
	server := asynq.NewServer(opt, asynq.Config{
		Concurrency: slots, TaskCheckInterval: s.check, LogLevel: asynq.ErrorLevel,
	})
	if err := server.Start(handlers); err != nil {
		return nil, nil, err
	}
	client := asynq.NewClient(opt)
	stop := func() {
		server.Shutdown()
		_ = client.Close()
	}
	return func(ctx context.Context, _ int, acked func()) error {
		t, err := client.EnqueueContext(ctx, asynq.NewTask("echo", payload))
		if err != nil {
			return err
		}
		acked()
		return ended.wait(ctx, t.ID)
	}, stop, nil
}
