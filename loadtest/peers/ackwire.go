package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/loadtest/pace"
	"github.com/ackwire/ackwire/schemas/job"
)

// payload is that of every job, in every system.
var payload = json.RawMessage(
	`{"reportType":"sales","from":"2026-01-01","to":"2026-01-31","columns":["date","orders","revenue","refunds"],"note":"a payload of about the size that people send, a few hundred bytes with a little structure in it, and text"}`)

// ackwires returns the Ackwires of the configuration. Their jobs are submitted and watched over sockets; gateways,
// trackers and workers are in other processes.
func ackwires(_ context.Context, c config) ([]peer, []string, error) {
	var out []peer
	for _, name := range slices.Sorted(maps.Keys(c.Ackwire)) {
		out = append(out, peer{name: name, open: func(ctx context.Context) (pace.Job, func(), error) {
			return openAckwire(ctx, c.Ackwire[name], c.Sockets)
		}})
	}
	return out, nil, nil
}

func openAckwire(ctx context.Context, url string, sockets int) (pace.Job, func(), error) {
	var clients []*ackwire.Client
	stop := func() {
		for _, c := range clients {
			_ = c.Close()
		}
	}
	for range sockets {
		c, err := ackwire.Dial(ctx, url)
		if err != nil {
			stop()
			return nil, nil, err
		}
		clients = append(clients, c)
	}
	return func(ctx context.Context, i int, acked func()) error {
		j, err := clients[i%sockets].Submit(ctx, "demo.echo", payload, ackwire.NoKey())
		if err != nil {
			return err
		}
		acked()
		end, err := j.Wait(ctx)
		if err == nil && end.State != job.Completed {
			err = fmt.Errorf("a job has ended as %s", end.State)
		}
		return err
	}, stop, nil
}
