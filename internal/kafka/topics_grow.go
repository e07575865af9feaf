package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire/internal/pause"
)

// growPause is the time between two questions whether a topic has its new partitions.
const growPause = 100 * time.Millisecond

// Growth is how many partitions a topic has, and is to have.
type Growth struct {
	Topic    string
	From, To int32
}

// PlanGrowth returns what Grow has to do so that each topic has n partitions. The error names a topic that does not
// exist or has more partitions than n, because Kafka cannot remove partitions.
func PlanGrowth(ctx context.Context, cl *kgo.Client, n int32, topics ...string) ([]Growth, error) {
	plan := make([]Growth, len(topics))
	for i, name := range topics {
		d, err := Describe(ctx, cl, name)
		switch {
		case errors.Is(err, kerr.UnknownTopicOrPartition):
			return nil, fmt.Errorf("topic %s does not exist", name)
		case err != nil:
			return nil, err
		case d.Partitions > n:
			return nil, fmt.Errorf("topic %s has %d partitions already, and Kafka cannot remove any", name, d.Partitions)
		}
		plan[i] = Growth{name, d.Partitions, n}
	}
	return plan, nil
}

// Grow adds the partitions of a plan that are missing, and returns when a broker knows them. To repeat it is harmless.
func Grow(ctx context.Context, cl *kgo.Client, plan []Growth) error {
	for _, g := range plan {
		if g.From >= g.To {
			continue
		}
		answers, err := kadm.NewClient(cl).UpdatePartitions(ctx, int(g.To), g.Topic)
		if err == nil {
			_, err = answers.On(g.Topic, nil)
		}
		if err == nil {
			err = answers.Error()
		}
		switch {
		case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed):
			return &Denied{Operation: "Alter", Resource: "topic", Name: g.Topic, cause: err}
		case err != nil:
			return fmt.Errorf("add partitions to topic %s: %w", g.Topic, err)
		}
		if err := AwaitPartitions(ctx, cl, g.Topic, g.To); err != nil {
			return err
		}
	}
	return nil
}

// AwaitPartitions waits until a broker says that a topic has n partitions. Brokers learn a little later than their
// controller what was made.
func AwaitPartitions(ctx context.Context, cl *kgo.Client, topic string, n int32) error {
	for {
		have, err := PartitionCount(ctx, cl, topic)
		if err == nil && have >= n {
			return nil
		}
		if !pause.For(ctx, growPause) {
			return fmt.Errorf("topic %s does not have %d partitions yet: %w", topic, n, errors.Join(ctx.Err(), err))
		}
	}
}

// Shares says how a consumer group shares a topic.
type Shares struct {
	Members  int
	Assigned int32 // partitions of the topic that have a member
}

// SharesOf asks the group for its members, and which of the topic's partitions they have.
func SharesOf(ctx context.Context, cl *kgo.Client, of Consumed) (s Shares, err error) {
	described, err := DescribeGroups(ctx, cl, of.Group)
	if err != nil {
		return s, fmt.Errorf("describe group %s: %w", of.Group, err)
	}
	group := described[of.Group]
	if err := unlessUnknown(group.Err); err != nil {
		return s, fmt.Errorf("describe group %s: %w", of.Group, err)
	}
	s.Members = len(group.Members)
	for _, m := range group.Members {
		assigned, ok := m.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, t := range assigned.Topics {
			if t.Topic == of.Topic {
				s.Assigned += int32(len(t.Partitions))
			}
		}
	}
	return s, nil
}
