package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Topic is one that a service needs.
type Topic struct {
	Name       string
	Partitions int32
	Configs    map[string]string
}

// EnsureTopics creates the topics that do not exist, with the broker's default
// replication, and leaves the others as they are. It returns the names it created.
func EnsureTopics(ctx context.Context, cl *kgo.Client, topics ...Topic) (created []string, err error) {
	adm := kadm.NewClient(cl)
	names := make([]string, len(topics))
	for i, t := range topics {
		names[i] = t.Name
	}
	have, err := adm.ListTopics(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	for _, t := range topics {
		if have.Has(t.Name) {
			continue
		}
		configs := map[string]*string{}
		for k, v := range maps.All(t.Configs) {
			configs[k] = kadm.StringPtr(v)
		}
		_, err := adm.CreateTopic(ctx, t.Partitions, -1, configs, t.Name)
		switch {
		case errors.Is(err, kerr.TopicAlreadyExists): // another service was quicker
		case err != nil:
			return created, fmt.Errorf("create topic %s: %w", t.Name, err)
		default:
			created = append(created, t.Name)
		}
	}
	return created, nil
}

// PartitionCount asks how many partitions a topic has.
func PartitionCount(ctx context.Context, cl *kgo.Client, topic string) (int32, error) {
	details, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	d, ok := details[topic]
	switch {
	case !ok:
		return 0, fmt.Errorf("topic %s: %w", topic, kerr.UnknownTopicOrPartition)
	case d.Err != nil:
		return 0, fmt.Errorf("topic %s: %w", topic, d.Err)
	}
	return int32(len(d.Partitions)), nil
}

// Partition is where Kafka's default partitioner (murmur2) puts a key among n partitions.
func Partition(key string, n int32) int32 {
	return int32(keyPartitioner.Partition(&kgo.Record{Key: []byte(key)}, int(n)))
}

var keyPartitioner = kgo.StickyKeyPartitioner(nil).ForTopic("")
