// Package upstream reaches the trackers: it finds the owner of each partition through
// their consumer group and nothing else, asks for single jobs, and keeps one watch stream
// per tracker for all jobs that sockets here watch.
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

const (
	minRefresh     = 100 * time.Millisecond // between two questions to the group
	maxOwnersAge   = 10 * time.Second       // after that the answer is asked for anew
	refreshTimeout = 3 * time.Second
)

// errNoOwner means that no tracker owns the job's partition now.
var errNoOwner = errors.New("no tracker owns the job's partition")

// owners knows which tracker owns which partition of status.
type owners struct {
	names  topic.Names
	client *kgo.Client

	asking   chan struct{}  // capacity 1: held while the group is asked
	requests sync.WaitGroup // those that nobody may be waiting for; Run does in the end

	mu         sync.RWMutex // guards all below
	partitions int32
	byPart     map[int32]string
	askedAt    time.Time // when the group answered last
	askErr     error     // of the last question; nil when it was answered
}

func newOwners(names topic.Names, cl *kgo.Client) *owners {
	return &owners{names: names, client: cl, asking: make(chan struct{}, 1), byPart: map[int32]string{}}
}

// of returns the address of the tracker that owns the job's partition, as last heard.
func (o *owners) of(jobID string) (addr string, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.partitions == 0 || time.Since(o.askedAt) > maxOwnersAge {
		return "", false
	}
	addr, ok = o.byPart[kafka.Partition(jobID, o.partitions)]
	return addr, ok
}

// refresh asks the group again, unless somebody did a moment ago. It returns with ctx: a request
// to a broker that hangs does not, and goes on for those who ask next.
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

// ask is one request of refresh. o.asking is held.
func (o *owners) ask(ctx context.Context) error {
	o.mu.RLock()
	recent := time.Since(o.askedAt) < minRefresh
	partitions := o.partitions
	o.mu.RUnlock()
	if recent {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
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
	for _, member := range described[group].Members {
		addr, ok := topic.TrackerAddress(member.ClientID)
		if !ok {
			continue
		}
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
	o.partitions, o.byPart, o.askedAt = partitions, byPart, time.Now()
	return nil
}

// lastAsked tells when the group last said who owns what, and why it did not since.
func (o *owners) lastAsked() (time.Time, error) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.askedAt, o.askErr
}

// find returns the owner, asking the group when nothing recent is known.
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
