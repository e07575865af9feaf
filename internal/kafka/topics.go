package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topic is a topic that a service needs. All maps are by the setting's name. A rule is "=v", or ">=v" for numbers, of
// which -1 is the largest.
type Topic struct {
	Name       string
	Kind       string            // names the topics that have the same settings
	Partitions int32             // with which it is created
	Configs    map[string]string // with which it is created
	// Promises are the rules without which no service starts; Tuning are those whose breach is only reported.
	Promises, Tuning map[string]string
	Why              map[string]string // what the breach of a rule does
	// Made is the retention.ms of topics that other processes have made and that may be raised to the promised one; empty
	// if it must not be raised.
	Made string
}

// EnsureTopics creates the topics that do not exist, with the broker's default
// replication, and leaves the others as they are. It returns the names it created.
func EnsureTopics(ctx context.Context, cl *kgo.Client, topics ...Topic) (created []string, err error) {
	created, _, err = makeTopics(ctx, cl, topics)
	return created, err
}

// Description is the result of Describe.
type Description struct {
	ClusterID  string
	TopicID    [16]byte
	Partitions int32
}

// Describe asks a broker for a topic's ID and number of partitions. The answer never comes from the client's
// cache, so a topic that was just created is found.
func Describe(ctx context.Context, cl *kgo.Client, topic string) (Description, error) {
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return Description{}, fmt.Errorf("describe topic %s: %w", topic, err)
	}
	if len(resp.Topics) != 1 {
		return Description{}, fmt.Errorf("describe topic %s: broker answered for %d topics", topic, len(resp.Topics))
	}
	got := resp.Topics[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return Description{}, fmt.Errorf("topic %s: %w", topic, err)
	}
	d := Description{TopicID: got.TopicID, Partitions: int32(len(got.Partitions))}
	if resp.ClusterID != nil {
		d.ClusterID = *resp.ClusterID
	}
	return d, nil
}

// PartitionCount asks a broker for a topic's number of partitions.
func PartitionCount(ctx context.Context, cl *kgo.Client, topic string) (int32, error) {
	d, err := Describe(ctx, cl, topic)
	return d.Partitions, err
}

// Partition returns the partition that Kafka's default partitioner (murmur2) chooses for a key among n.
func Partition(key string, n int32) int32 {
	return int32(keyPartitioner.Partition(&kgo.Record{Key: []byte(key)}, int(n)))
}

var keyPartitioner = kgo.StickyKeyPartitioner(nil).ForTopic("")

// AppendTimes returns for which topics the broker sets each record's timestamp
// (message.timestamp.type=LogAppendTime), instead of its producer.
func AppendTimes(ctx context.Context, cl *kgo.Client, topics ...string) (map[string]bool, error) {
	described, err := kadm.NewClient(cl).DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("describe topics' settings: %w", err)
	}
	all := map[string]bool{}
	for _, t := range topics {
		got, err := described.On(t, nil)
		if err == nil {
			err = got.Err
		}
		if err != nil {
			return nil, fmt.Errorf("settings of topic %s: %w", t, err)
		}
		for _, c := range got.Configs {
			if c.Key == "message.timestamp.type" {
				all[t] = c.MaybeValue() == "LogAppendTime"
			}
		}
	}
	return all, nil
}
