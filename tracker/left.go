package tracker

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/view"
)

// Left is what is left of a system whose jobs move to another topic prefix.
type Left struct {
	Jobs   map[job.State]int64
	Closed bool  // every partition has a topic.MarkClosed
	Behind int64 // events that the count does not reflect yet
}

// ErrNoView is the error of CountLeft for a system without the topic view.
var ErrNoView = errors.New("there is no topic view, by which jobs are counted")

// CountLeft counts the jobs of all tenants by their state, from the topic view. No tracker is asked.
func CountLeft(
	ctx context.Context, newClient func(...kgo.Opt) (*kgo.Client, error), names topic.Names,
) (Left, error) {
	left := Left{Jobs: map[job.State]int64{}, Closed: true}
	cl, err := newClient()
	if err != nil {
		return left, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	logs, err := admin.ListEndOffsets(ctx, names.Status())
	if err == nil {
		err = logs.Error()
	}
	if err != nil {
		return left, fmt.Errorf("read %s: %w", names.Status(), err)
	}
	views, err := admin.ListCommittedOffsets(ctx, names.View())
	if err != nil {
		return left, fmt.Errorf("read %s: %w", names.View(), err)
	}
	for p, log := range logs[names.Status()] {
		end, ok := views.Lookup(names.View(), p)
		if !ok || end.Err != nil {
			return left, errors.Join(ErrNoView, end.Err)
		}
		counted, err := view.Count(ctx, newClient, names.View(), p, end.Offset)
		if err != nil {
			return left, err
		}
		for s, n := range counted.Jobs {
			left.Jobs[s] += n
		}
		left.Closed = left.Closed && counted.Closed
		left.Behind += max(0, log.Offset-counted.Next)
	}
	return left, nil
}
