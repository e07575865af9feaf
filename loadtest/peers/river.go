package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/ackwire/ackwire/loadtest/pace"
)

// riverSettings are those in which River's rows differ.
type riverSettings struct {
	name     string
	cooldown time.Duration // between fetches; 0 is River's default
	poll     time.Duration // between fetches without a notification; 0 is River's default
	async    bool          // synchronous_commit off: the last commits are lost when the server crashes
	// atHandler takes the return of a job's handler as its end, as for Asynq. Otherwise it is when River's subscription
	// tells of it, which is after it is in the database.
	atHandler bool
}

// Tuned settings of River.
const (
	tunedCooldown = 5 * time.Millisecond
	tunedPoll     = 100 * time.Millisecond
)

// rivers returns River with its default settings, and tuned. Clients and workers are in this process; LISTEN and NOTIFY
// are on.
func rivers(ctx context.Context, c config) ([]peer, []string, error) {
	if c.Postgres == "" {
		return nil, nil, nil
	}
	pool, err := pgPool(ctx, c, false)
	if err != nil {
		return nil, nil, err
	}
	defer pool.Close()
	var server string
	if err := pool.QueryRow(ctx, "SHOW server_version").Scan(&server); err != nil {
		return nil, nil, fmt.Errorf("postgres: %w", err)
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make River's tables: %w", err)
	}
	var out []peer
	for _, s := range []riverSettings{
		{name: "River"},
		{name: "River, tuned", cooldown: tunedCooldown, poll: tunedPoll},
		{name: "River, tuned, synchronous_commit off", cooldown: tunedCooldown, poll: tunedPoll, async: true},
		{name: "River, tuned, end at the handler", cooldown: tunedCooldown, poll: tunedPoll, atHandler: true},
	} {
		out = append(out, peer{name: s.name, open: func(ctx context.Context) (pace.Job, func(), error) {
			return openRiver(ctx, c, s)
		}})
	}
	return out, []string{"River " + version("github.com/riverqueue/river") + " on PostgreSQL " + server}, nil
}

func pgPool(ctx context.Context, c config, async bool) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(c.Postgres)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err)
	}
	cfg.MaxConns = int32(c.Sockets)
	if async {
		cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	}
	return pgxpool.NewWithConfig(ctx, cfg)
}

// echoArgs are the arguments of River's jobs.
type echoArgs struct {
	Payload json.RawMessage `json:"payload"`
}

// Kind implements river.JobArgs.
func (echoArgs) Kind() string { return "echo" }

// openRiver starts a River client with workers.
func openRiver(ctx context.Context, c config, s riverSettings) (_ pace.Job, _ func(), err error) {
	pool, err := pgPool(ctx, c, s.async)
	if err != nil {
		return nil, nil, err
	}
	workers := river.NewWorkers()
	ended := newEnds[int64]()
	river.AddWorker(workers, river.WorkFunc(func(_ context.Context, j *river.Job[echoArgs]) error {
		if s.atHandler {
			ended.ended(j.ID)
		}
		return nil
	}))
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		FetchCooldown: s.cooldown, FetchPollInterval: s.poll, Workers: workers, Logger: slog.New(slog.DiscardHandler),
		Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: slots}},
	})
	if err != nil {
		pool.Close()
		return nil, nil, err
	}
	events, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: 100_000, Kinds: []river.EventKind{river.EventKindJobCompleted},
	})
	if err := client.Start(ctx); err != nil {
		unsubscribe()
		pool.Close()
		return nil, nil, err
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		for e := range events {
			if !s.atHandler {
				ended.ended(e.Job.ID)
			}
		}
	}()
	stop := func() {
		_ = client.Stop(context.WithoutCancel(ctx))
		unsubscribe()
		<-told
		pool.Close()
	}
	return func(ctx context.Context, _ int, acked func()) error {
		j, err := client.Insert(ctx, echoArgs{payload}, nil)
		if err != nil {
			return err
		}
		acked()
		return ended.wait(ctx, j.Job.ID)
	}, stop, nil
}
