package api

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/gateway/auth"
	"github.com/ackwire/ackwire/gateway/problem"
	"github.com/ackwire/ackwire/gateway/queue"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

const (
	lanesAge = time.Second // how long an answer of Kafka is reused
	maxLanes = 1000        // lanes that are remembered: jobs may name lanes that are in no file
)

// lane is the state of a lane in Kafka.
type lane struct {
	workers int
	waiting int64
	taken   map[int32]int64 // by partition of its requests: the committed offset, below which requests have a worker
	askedAt time.Time
}

// seenBy returns the lane as a client sees it. A lane is shared by all tenants, so only who may operate sees its
// numbers; others see their classes.
func (l lane) seenBy(id auth.Identity) lane {
	if !id.May(auth.Operate) {
		l.workers, l.waiting = int(queue.Class(int64(l.workers))), queue.Class(l.waiting)
	}
	return l
}

// sinceSeenBy returns since when the oldest request of a lane has waited as a client sees it: who may not operate sees
// the class of the seconds until now.
func sinceSeenBy(id auth.Identity, since, now time.Time) time.Time {
	if id.May(auth.Operate) {
		return since
	}
	class := queue.Class(int64(now.Sub(since) / time.Second))
	return unixTime(now.Add(-time.Duration(class) * time.Second).UnixMilli())
}

// lanes reads the state of lanes from Kafka, one caller at a time, and caches it for lanesAge.
type lanes struct {
	names  topic.Names
	client *kgo.Client
	within time.Duration // bound of an answer of Kafka, with the wait for other callers
	asking chan struct{} // capacity 1: a lock that is held while Kafka is asked

	mu    sync.Mutex // guards known
	known map[string]lane
}

func newLanes(names topic.Names, cl *kgo.Client, within time.Duration) *lanes {
	return &lanes{names: names, client: cl, within: within, asking: make(chan struct{}, 1), known: map[string]lane{}}
}

// get returns the lanes with these names. A lane that does not exist in Kafka has no workers and no requests.
func (l *lanes) get(ctx context.Context, names ...string) (map[string]lane, error) {
	ctx, cancel := context.WithTimeout(ctx, l.within)
	defer cancel()
	if found, missing := l.remembered(names); len(missing) == 0 {
		return found, nil
	}
	select {
	case l.asking <- struct{}{}:
		defer func() { <-l.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	found, missing := l.remembered(names) // another caller may have asked meanwhile
	if len(missing) == 0 {
		return found, nil
	}
	asked, err := l.ask(ctx, missing)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known)+len(asked) > maxLanes {
		clear(l.known)
	}
	for name, lane := range asked {
		found[name], l.known[name] = lane, lane
	}
	return found, nil
}

func (l *lanes) remembered(names []string) (found map[string]lane, missing []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	found = map[string]lane{}
	for _, name := range names {
		if known, ok := l.known[name]; ok && time.Since(known.askedAt) < lanesAge {
			found[name] = known
		} else {
			missing = append(missing, name)
		}
	}
	return found, missing
}

func (l *lanes) ask(ctx context.Context, names []string) (map[string]lane, error) {
	of := make([]kafka.Consumed, len(names))
	for i, name := range names {
		of[i] = kafka.Consumed{Topic: l.names.Requests(name), Group: l.names.ProcessorGroup(name)}
	}
	backlogs, err := kafka.Backlogs(ctx, l.client, of...)
	if err != nil {
		return nil, fmt.Errorf("lanes: %w", err)
	}
	asked := map[string]lane{}
	for i, b := range backlogs {
		asked[names[i]] = lane{workers: b.Members, waiting: b.Waiting, taken: b.Taken, askedAt: time.Now()}
	}
	return asked, nil
}

// backlogs are the lanes of the present system, and of the former one if there is one.
type backlogs struct {
	systems []*lanes // the present one is the first
	log     *slog.Logger
}

func newBacklogs(cfg *Config) *backlogs {
	b := &backlogs{log: cfg.Log}
	for _, names := range cfg.Systems {
		b.systems = append(b.systems, newLanes(names, cfg.Kafka, cfg.Ask))
	}
	return b
}

// of returns the system that has a request topic.
func (b *backlogs) of(lane, requests string) *lanes {
	for _, l := range b.systems {
		if l.names.Requests(lane) == requests {
			return l
		}
	}
	return b.systems[0]
}

// sum adds up the workers and requests of the present and the former system.
func (b *backlogs) sum(ctx context.Context, names ...string) (map[string]lane, error) {
	sum := map[string]lane{}
	for _, system := range b.systems {
		found, err := b.ask(ctx, system, names...)
		if err != nil {
			return nil, err
		}
		for name, l := range found {
			sum[name] = lane{workers: sum[name].workers + l.workers, waiting: sum[name].waiting + l.waiting}
		}
	}
	return sum, nil
}

// ask is lanes.get with an error for clients.
func (b *backlogs) ask(ctx context.Context, system *lanes, names ...string) (map[string]lane, error) {
	found, err := system.get(ctx, names...)
	if err != nil {
		b.log.Warn("lanes are not known", "err", err)
		return nil, problem.Unavailable("Kafka does not answer")
	}
	return found, nil
}
