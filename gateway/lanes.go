package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/topic"
)

const (
	lanesAge     = time.Second     // what Kafka said is said again for so long
	lanesTimeout = 3 * time.Second // for an answer of Kafka, the wait for one's turn included
	maxLanes     = 1000            // remembered: jobs may name lanes that no file has
)

// lane is what Kafka knows of a lane.
type lane struct {
	workers int
	waiting int64
	taken   map[int32]int64 // by partition of its requests: what is below has a worker
	askedAt time.Time
}

// lanes asks Kafka about lanes, one caller at a time, and remembers for lanesAge.
type lanes struct {
	names  topic.Names
	client *kgo.Client
	asking chan struct{} // capacity 1: held while Kafka is asked

	mu    sync.Mutex // guards known
	known map[string]lane
}

func newLanes(names topic.Names, cl *kgo.Client) *lanes {
	return &lanes{names: names, client: cl, asking: make(chan struct{}, 1), known: map[string]lane{}}
}

// get returns all lanes that are asked for. A lane that Kafka does not know has no workers
// and nothing waits in it.
func (l *lanes) get(ctx context.Context, names ...string) (map[string]lane, error) {
	ctx, cancel := context.WithTimeout(ctx, lanesTimeout)
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
	found, missing := l.remembered(names) // somebody else may have asked
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

// ask reads the commits before the ends, so that nothing is counted below 0.
func (l *lanes) ask(ctx context.Context, names []string) (map[string]lane, error) {
	admin := kadm.NewClient(l.client)
	groups, topics := make([]string, len(names)), make([]string, len(names))
	for i, name := range names {
		groups[i], topics[i] = l.names.ProcessorGroup(name), l.names.Requests(name)
	}
	described, err := admin.DescribeGroups(ctx, groups...)
	if err != nil {
		return nil, fmt.Errorf("describe groups of lanes: %w", err)
	}
	committed := admin.FetchManyOffsets(ctx, groups...)
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list starts of requests: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list ends of requests: %w", err)
	}
	asked := map[string]lane{}
	for i, name := range names {
		group, commits := described[groups[i]], committed[groups[i]]
		if err := errors.Join(unlessUnknown(group.Err), unlessUnknown(commits.Err)); err != nil {
			return nil, fmt.Errorf("group %s: %w", groups[i], err)
		}
		found := lane{workers: len(group.Members), taken: map[int32]int64{}, askedAt: time.Now()}
		for p, end := range ends[topics[i]] {
			if err := unlessUnknown(end.Err); err != nil {
				return nil, fmt.Errorf("end of %s/%d: %w", topics[i], p, err)
			}
			if end.Err != nil {
				continue // there is no such topic yet
			}
			start, _ := starts.Lookup(topics[i], p)
			commit, _ := commits.Fetched.Lookup(topics[i], p) // none is 0
			if err := errors.Join(start.Err, commit.Err); err != nil {
				return nil, fmt.Errorf("start of %s/%d: %w", topics[i], p, err)
			}
			taken := max(start.Offset, commit.At)
			found.taken[p] = taken
			found.waiting += max(0, end.Offset-taken)
		}
		asked[name] = found
	}
	return asked, nil
}

// unlessUnknown passes over what says that there is no such group or topic.
func unlessUnknown(err error) error {
	if errors.Is(err, kerr.GroupIDNotFound) || errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return err
}
