package processor

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/ackwire/ackwire/internal/pause"
)

// assigned adds new partitions to the lane and returns them.
func (l *lane) assigned(numbers []int32) []*partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = true
	parts := make([]*partition, len(numbers))
	for i, n := range numbers {
		parts[i] = &partition{number: n, committed: -1}
		l.partitions[n] = parts[i]
	}
	return parts
}

// forget removes partitions from the lane. Runs of their requests go on; their marks have no effect any more.
func (l *lane) forget(numbers []int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range numbers {
		delete(l.partitions, n)
	}
}

// learnBacklog asks Kafka for the end offsets of new partitions, until it gets them. Records below the end may have
// been delivered to another worker before; while the end is not known, any record may. An end that is asked for after
// the assignment may be too high but never too low, so a run may wait for a grant that it did not need.
func (l *lane) learnBacklog(ctx context.Context, parts []*partition) {
	for {
		err := l.askBacklog(ctx, parts)
		if err == nil || ctx.Err() != nil {
			return
		}
		l.log.Debug("end offsets not known yet, asking again", "err", err)
		pause.For(ctx, pollPause)
	}
}

func (l *lane) askBacklog(ctx context.Context, parts []*partition) error {
	ctx, cancel := context.WithTimeout(ctx, l.p.bounds.Steps)
	defer cancel()
	ends, err := kadm.NewClient(l.p.client).ListEndOffsets(ctx, l.topic)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range parts {
		end, ok := ends.Lookup(l.topic, part.number)
		switch {
		case part.backlogKnown:
		case !ok:
			err = fmt.Errorf("partition %d has no end offset", part.number)
		case end.Err != nil:
			err = end.Err
		default:
			part.backlogKnown, part.backlog = true, end.Offset
		}
	}
	return err
}
