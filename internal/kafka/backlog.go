package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Consumed is a topic and the one group that consumes it.
type Consumed struct{ Topic, Group string }

// Backlog is the lag of a consumer group on its topic.
type Backlog struct {
	Members int
	Waiting int64           // records that the group has not consumed
	Taken   map[int32]int64 // by partition: records below this offset are consumed or were removed
	Ends    map[int32]int64 // by partition: the end offset
}

// Backlogs returns the backlogs of several groups, in their order. A group or topic that does not exist has an
// empty backlog.
func Backlogs(ctx context.Context, cl *kgo.Client, of ...Consumed) ([]Backlog, error) {
	admin := kadm.NewClient(cl)
	groups, topics := make([]string, len(of)), make([]string, len(of))
	for i, c := range of {
		groups[i], topics[i] = c.Group, c.Topic
	}
	described, err := DescribeGroups(ctx, cl, groups...)
	if err != nil {
		return nil, fmt.Errorf("describe groups: %w", err)
	}
	// Commits are read before ends, so that no lag is negative.
	committed := admin.FetchManyOffsets(ctx, groups...)
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list starts: %w", err)
	}
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("list ends: %w", err)
	}
	all := make([]Backlog, len(of))
	for i, c := range of {
		group, commits := described[c.Group], committed[c.Group]
		if err := errors.Join(unlessUnknown(group.Err), unlessUnknown(commits.Err)); err != nil {
			return nil, fmt.Errorf("group %s: %w", c.Group, err)
		}
		b := Backlog{Members: len(group.Members), Taken: map[int32]int64{}, Ends: map[int32]int64{}}
		for p, end := range ends[c.Topic] {
			if err := unlessUnknown(end.Err); err != nil {
				return nil, fmt.Errorf("end of %s/%d: %w", c.Topic, p, err)
			}
			if end.Err != nil {
				continue // there is no such topic yet
			}
			start, _ := starts.Lookup(c.Topic, p)
			commit, _ := commits.Fetched.Lookup(c.Topic, p) // 0 without a commit
			if err := errors.Join(start.Err, commit.Err); err != nil {
				return nil, fmt.Errorf("start of %s/%d: %w", c.Topic, p, err)
			}
			b.Taken[p], b.Ends[p] = max(start.Offset, commit.At), end.Offset
			b.Waiting += max(0, end.Offset-b.Taken[p])
		}
		all[i] = b
	}
	return all, nil
}

// unlessUnknown returns nil for an error that says that the group or topic does not exist, else err.
func unlessUnknown(err error) error {
	if errors.Is(err, kerr.GroupIDNotFound) || errors.Is(err, kerr.UnknownTopicOrPartition) {
		return nil
	}
	return err
}
