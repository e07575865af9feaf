package upstream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/schemas/topic"
)

const minRefresh = 100 * time.Millisecond // between two questions to the group

// errNoOwner is returned while no tracker owns the job's partition.
var errNoOwner = errors.New("no tracker owns the job's partition")

// owners caches which tracker owns which partition of status.
type owners struct {
	names  topic.Names
	client *kgo.Client
	bounds kafka.Bounds // Ask bounds a question to the group, and Owners the age of an answer that is used

	asking   chan struct{}  // capacity 1: a lock that is held while the group is asked
	requests sync.WaitGroup // questions to the group, which may outlive their callers; Run waits for them

	mu         sync.RWMutex        // guards the fields below
	partitions int32               // number of partitions of status; 0 until it is known
	byPart     map[int32]string    // the owner's address by partition
	members    []string            // the addresses of all trackers of the group, also of those that own nothing
	unowned    map[int32]time.Time // partitions without an owner, and since when
	askedAt    time.Time           // when the group last answered
	askErr     error               // of the last question; nil when it was answered
}

func newOwners(names topic.Names, cl *kgo.Client, b kafka.Bounds) *owners {
	return &owners{names: names, client: cl, bounds: b, asking: make(chan struct{}, 1), byPart: map[int32]string{}}
}

// of returns the address of the tracker that owns the job's partition. ok is false if there is none, or the last answer
// of the group is too old.
func (o *owners) of(jobID string) (addr string, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.partitions == 0 || time.Since(o.askedAt) > o.bounds.Owners {
		return "", false
	}
	addr, ok = o.byPart[kafka.Partition(jobID, o.partitions)]
	return addr, ok
}

// refresh asks the group for the owners, unless it was asked a moment ago. It returns when ctx ends. The request itself
// is bounded only by bounds.Ask: if the broker hangs it goes on, and its answer serves later callers.
func (o *owners) refresh(ctx context.Context) error {
	select {
	case o.asking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	asked := make(chan error, 1)
	o.requests.Go(func() {
		defer func() { <-o.asking }()
		err := o.ask(context.WithoutCancel(ctx))
		o.mu.Lock()
		o.askErr = err
		o.mu.Unlock()
		asked <- err
	})
	select {
	case err := <-asked:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ask sends one question to the group and stores the answer. o.asking is held.
func (o *owners) ask(ctx context.Context) error {
	o.mu.RLock()
	recent := time.Since(o.askedAt) < minRefresh
	partitions := o.partitions
	o.mu.RUnlock()
	if recent {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.bounds.Ask)
	defer cancel()
	status := o.names.Status()
	if partitions == 0 {
		n, err := kafka.PartitionCount(ctx, o.client, status)
		if err != nil {
			return err
		}
		partitions = n
	}
	group := o.names.TrackerGroup()
	described, err := kafka.DescribeGroups(ctx, o.client, group)
	if err != nil {
		return fmt.Errorf("describe group %s: %w", group, err)
	}
	byPart := map[int32]string{}
	var members []string
	for _, member := range described[group].Members {
		addr, ok := topic.TrackerAddress(member.ClientID)
		if !ok {
			continue
		}
		members = append(members, addr)
		if assigned, ok := member.Assigned.AsConsumer(); ok {
			for _, t := range assigned.Topics {
				if t.Topic == status {
					for _, p := range t.Partitions {
						byPart[p] = addr
					}
				}
			}
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partitions, o.byPart, o.members = partitions, byPart, members
	o.askedAt = time.Now()
	o.noteUnowned(o.askedAt)
	return nil
}

// lastAsked returns when the group last answered, and the error of the last question if that failed.
func (o *owners) lastAsked() (time.Time, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.askedAt, o.askErr
}

// find returns the owner's address. It asks the group if no recent answer names one.
func (o *owners) find(ctx context.Context, jobID string) (string, error) {
	if addr, ok := o.of(jobID); ok {
		return addr, nil
	}
	if err := o.refresh(ctx); err != nil {
		return "", err
	}
	if addr, ok := o.of(jobID); ok {
		return addr, nil
	}
	return "", errNoOwner
}
